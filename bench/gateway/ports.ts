import { freePort } from '../../deploy/servers/state.ts';

/** Free loopback ports, all different, and none that an outgoing connection of the load generator may get first. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort(ports));
  return ports;
}
