CREATE TABLE media_jobs (
id SERIAL PRIMARY KEY,
task_id TEXT UNIQUE,
input_url TEXT NOT NULL,
status TEXT DEFAULT 'pending',
output_url TEXT,
created_at TIMESTAMPTZ DEFAULT now(),
completed_at TIMESTAMPTZ
);
