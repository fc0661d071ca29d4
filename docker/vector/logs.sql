-- The table of the logs, and how many days it keeps them: parameter `days`. Run again with another number to change that.
--   clickhouse-client --database millrace --param_days=14 --queries-file logs.sql
CREATE TABLE IF NOT EXISTS logs
(
    timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    service LowCardinality(String),
    level LowCardinality(String),
    version LowCardinality(String),
    host LowCardinality(String),
    container LowCardinality(String),
    request_id String,
    trace_id String,
    message String CODEC(ZSTD(3)),
    fields JSON(max_dynamic_paths = 64),
    INDEX by_request request_id TYPE bloom_filter,
    INDEX by_trace trace_id TYPE bloom_filter
)
ENGINE = MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (service, timestamp)
SETTINGS ttl_only_drop_parts = 1;

-- A day is one part or a few: it goes as a whole, and nothing is rewritten for that.
ALTER TABLE logs MODIFY TTL toDateTime(timestamp) + toIntervalDay({days:UInt16});
