// The bare `ws` package: what a publisher sends goes to everyone who listens. Nothing is kept.
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
const rooms = new Map();

function listen(socket, room) {
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(socket);
  socket.on('close', () => rooms.get(room).delete(socket));
}

function publish(room, data) {
  const text = data.toString();
  for (const socket of rooms.get(room) ?? []) socket.send(text);
}

server.on('connection', (socket, request) => {
  const [, role, room] = request.url.split('/');
  if (role === 'sub') listen(socket, room);
  else socket.on('message', (data) => publish(room, data));
});
server.on('listening', () => console.log(`ready :${server.address().port}`));
