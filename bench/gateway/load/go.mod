module lyceum/bench/gateway/load

go 1.19
