-- The user with which Grafana asks ClickHouse for analysts: reads three tables, and cannot take the server away from
-- delivery. Run it once, as a user who may create users, in the database of the tables:
--
--   clickhouse-client --database default --param_password "$(cat analyst_password)" --queries-file clickhouse-user.sql
--
-- On a cluster add ON CLUSTER to each statement, unless users are kept in Keeper (user_directories, replicated).

CREATE SETTINGS PROFILE IF NOT EXISTS millrace_analyst SETTINGS
  -- Nothing is written, no setting is changed, but the one that the data source sends with every query.
  readonly = 1,
  max_execution_time = 30 MIN 1 MAX 60 CHANGEABLE_IN_READONLY,
  max_memory_usage = 4000000000,
  max_bytes_before_external_group_by = 1000000000,
  max_bytes_before_external_sort = 1000000000,
  max_threads = 4,
  max_concurrent_queries_for_user = 12,
  max_result_rows = 100000,
  -- Behind other queries, the streamers' inserts among them.
  priority = 10;

CREATE USER IF NOT EXISTS millrace_analyst IDENTIFIED WITH sha256_password BY {password:String}
  SETTINGS PROFILE millrace_analyst;

CREATE QUOTA IF NOT EXISTS millrace_analyst KEYED BY user_name
  FOR INTERVAL 1 hour MAX queries = 20000, errors = 2000, execution_time = 7200
  TO millrace_analyst;

-- Unqualified: in the database of the session.
GRANT SELECT ON events TO millrace_analyst;
GRANT SELECT ON repeats TO millrace_analyst;
-- Without `raw`: what was refused has passed no schema of yours, so nobody knows what is in it.
GRANT SELECT(topic, topic_id, partition, offset, received_at, refused_at, event_id, code, column, reason)
  ON dead_letters TO millrace_analyst;
