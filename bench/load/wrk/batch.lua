-- 100 events in each post, as NDJSON, as fast as answers come; events/s are 100 times what wrk prints as requests/s:
--   wrk -c 64 -t 2 -d 60s --latency -s bench/load/wrk/batch.lua http://127.0.0.1:8080/v1/events
-- Another number of events goes behind `--` at the end of the line.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-ndjson"

-- wrk calls it once in each thread, before it makes the request.
function init(args)
  wrk.body = string.rep('{"event":"view","os":"linux","browser":"chrome"}\n', tonumber(args[1]) or 100)
end
