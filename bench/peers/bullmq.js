// Intake as it is often built on Node: Express, a verified token, a job per answer in BullMQ. The job's id makes the
// first answer win. Environment: PORT, BENCH_REDIS (path of a Redis socket), BENCH_SECRET (of the tokens).
import { Queue } from "bullmq";
import express from "express";
import jwt from "jsonwebtoken";

const answers = new Queue("answers", { connection: { path: process.env.BENCH_REDIS } });
const verify = { algorithms: ["HS256"], audience: "quizcast:participant" };

const app = express();
app.get("/ready", (request, response) => response.send("ok"));
app.post("/api/v1/games/:game/answers", express.json({ limit: "4kb" }), async (request, response) => {
  let claims;
  try {
    claims = jwt.verify((request.get("authorization") ?? "").slice("Bearer ".length), process.env.BENCH_SECRET, verify);
  } catch {
    return response.status(401).json({ code: "token_invalid" });
  }
  if (claims.game !== request.params.game) return response.status(403).json({ code: "not_in_game" });
  const { question, answer } = request.body;
  const received_at = Date.now();
  await answers.add(
    "answer",
    { game: claims.game, participant: claims.sub, question, answer, received_at },
    { jobId: `${claims.game}-${question}-${claims.sub}` },
  );
  response.status(202).json({ question, received_at, duplicate: false });
});
app.listen(Number(process.env.PORT), "127.0.0.1", 4096);
