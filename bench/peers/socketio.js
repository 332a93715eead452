// socket.io as its manual sets it up for more than one process: the Redis adapter, the WebSocket transport.
// Environment: PORT, BENCH_REDIS (path of a Redis socket).
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const publisher = new Redis({ path: process.env.BENCH_REDIS });
const subscriber = publisher.duplicate();

const http = createServer((request, response) => {
  if (request.url === "/ready") return response.end("ok");
  if (request.url !== "/publish") return; // socket.io's own
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    io.to("game").emit("leaderboard", JSON.parse(Buffer.concat(parts).toString()));
    response.writeHead(202).end();
  });
});
const io = new Server(http, { transports: ["websocket"], adapter: createAdapter(publisher, subscriber) });
io.on("connection", (socket) => socket.join("game"));
http.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 });
