// The server of Ittybit's guide "Media processing pipeline on Railway with Ittybit", as it stands
// there. Ittybit's address is from the environment, so that it can be a local one, and the server
// prints its port once it listens.
import express from "express";
import pg from "pg";
const app = express();
app.use(express.json());
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const ITTYBIT_API_KEY = process.env.ITTYBIT_API_KEY;
const RAILWAY_DOMAIN = process.env.RAILWAY_PUBLIC_DOMAIN;
// Accept a media URL, dispatch an Ittybit task with a webhook
app.post("/process", async (req, res) => {
  const { url, kind = "video", options = {} } = req.body;
  const task = await fetch(`${process.env.ITTYBIT_API_URL}/jobs`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${ITTYBIT_API_KEY}`,
      "Content-Type": "application/json",
    },
    body: JSON.stringify({
      input: url,
      kind,
      options,
      webhook_url: `https://${RAILWAY_DOMAIN}/webhooks/ittybit`,
    }),
  });
  const data = await task.json();
  await pool.query(
    "INSERT INTO media_jobs (task_id, input_url, status) VALUES ($1, $2, $3)",
    [data.id, url, "processing"]
  );
  res.json({ task_id: data.id, status: "processing" });
});
// Receive completion webhooks from Ittybit
app.post("/webhooks/ittybit", async (req, res) => {
  const { id, status, output } = req.body;
  await pool.query(
    `UPDATE media_jobs
     SET status = $1, output_url = $2, completed_at = now()
     WHERE task_id = $3`,
    [status, output?.url ?? null, id]
  );
  res.sendStatus(200);
});
// Check job status
app.get("/jobs/:taskId", async (req, res) => {
  const { rows } = await pool.query(
    "SELECT * FROM media_jobs WHERE task_id = $1",
    [req.params.taskId]
  );
  if (!rows.length) return res.status(404).json({ error: "not found" });
  res.json(rows[0]);
});
const server = app.listen(process.env.PORT || 3000, () => console.log(server.address().port));
