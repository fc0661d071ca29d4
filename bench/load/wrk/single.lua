-- One event in each post, as fast as answers come:
--   wrk -c 256 -t 2 -d 60s --latency -s bench/load/wrk/single.lua http://127.0.0.1:8080/v1/events
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"event":"view","os":"linux","browser":"chrome"}'
