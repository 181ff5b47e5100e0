import { startCluster } from '../support/platform.ts';
import { chatFeatures } from './chat-features.ts';

// On the plain adapter, which is the default, there is tests/failure/; this is the other one.
chatFeatures('on two chats and two gateways, with the sharded adapter', () =>
  startCluster({ args: ['--gateway', '2', '--chat', '2'], env: { SOCKET_ADAPTER: 'sharded' } }),
);
