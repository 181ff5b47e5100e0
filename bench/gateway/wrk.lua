-- Requests of one kind with the tokens of several users in turn, all made before the run.
-- Arguments: file with tokens, one a line; then, for a POST, the length of its body.
local requests = {}
local next = 0

function init(args)
  local method, body = "GET", nil
  if args[2] then
    method = "POST"
    body = '{"events":["' .. string.rep("x", tonumber(args[2]) - 15) .. '"]}'
  end
  for token in io.lines(args[1]) do
    local headers = { ["Authorization"] = "Bearer " .. token }
    if body then headers["Content-Type"] = "application/json" end
    requests[#requests + 1] = wrk.format(method, nil, headers, body)
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nresult {"requests":%d,"seconds":%.6f,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n',
    summary.requests, summary.duration / 1e6,
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
