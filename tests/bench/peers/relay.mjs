// The peer of the relay: Node's `ws`, broadcasting what one client sends to all others, as its README shows.
import { createRequire } from 'node:module';

const { WebSocketServer, WebSocket } = createRequire(`${process.env.BENCH_NODE}/`)('ws');
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false });

server.on('connection', (sender) => {
  sender.on('message', (data, isBinary) => {
    for (const client of server.clients) {
      if (client !== sender && client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
    }
  });
});
server.on('listening', () => console.log('ready'));
