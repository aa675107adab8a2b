create table public.jobs (
  id uuid primary key default gen_random_uuid(),
  input_url text not null,
  task_id text,
  status text default 'pending',
  output_url text,
  error text,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
