// Socket.IO, WebSocket only, in the shape of its own guide: a publisher emits, the room hears it. Nothing is kept.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false, perMessageDeflate: false });

io.on('connection', (socket) => {
  const { room } = socket.handshake.query;
  if (room) socket.join(room);
  socket.on('publish', (to, data) => io.to(to).emit('record', data));
});
http.listen(0, '127.0.0.1', () => console.log(`ready :${http.address().port}`));
