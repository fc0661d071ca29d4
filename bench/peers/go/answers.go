package main

import (
	"encoding/json"
	"net/http"
	"strconv"
)

const invalidEvent = "INVALID_EVENT"

// rejection says why an event of a batch was not accepted.
type rejection struct {
	Index  int    `json:"index"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, status int, code string, err error) {
	body, _ := json.Marshal(map[string]any{"status": status, "code": code, "detail": err.Error()})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func appendReceipt(to []byte, at place) []byte {
	to = append(to, `{"status":"ok","partition":`...)
	to = strconv.AppendInt(to, int64(at.partition), 10)
	to = append(to, `,"offset":`...)
	to = strconv.AppendInt(to, at.offset, 10)
	return append(to, '}')
}

// appendReceipts writes one receipt for each run of offsets without a gap.
func appendReceipts(to []byte, rejected []rejection, places []place) []byte {
	status, list := "ok", []byte("[]")
	if len(rejected) > 0 {
		status = "partial"
		list, _ = json.Marshal(rejected)
	}
	to = append(to, `{"status":"`+status+`","accepted":`...)
	to = strconv.AppendInt(to, int64(len(places)), 10)
	to = append(append(to, `,"rejected":`...), list...)
	to = append(to, `,"receipts":[`...)
	for start := 0; start < len(places); {
		end := start + 1
		for end < len(places) && follows(places[end], places[end-1]) {
			end++
		}
		if start > 0 {
			to = append(to, ',')
		}
		to = append(to, `{"partition":`...)
		to = strconv.AppendInt(to, int64(places[start].partition), 10)
		to = append(to, `,"offset":`...)
		to = strconv.AppendInt(to, places[start].offset, 10)
		to = append(to, `,"count":`...)
		to = strconv.AppendInt(to, int64(end-start), 10)
		to = append(to, '}')
		start = end
	}
	return append(to, "]}"...)
}

func follows(next, last place) bool {
	return next.partition == last.partition && next.offset == last.offset+1
}
