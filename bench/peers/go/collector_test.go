package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// gapSink gives every two events a partition of their own.
type gapSink struct{ err error }

func (s gapSink) storeOne(context.Context, []byte) (place, error) { return place{2, 17}, s.err }

func (s gapSink) storeAll(_ context.Context, events [][]byte) ([]place, error) {
	places := make([]place, len(events))
	for i := range events {
		places[i] = place{int32(i / 2), int64(10 + i%2)}
	}
	return places, s.err
}

func (s gapSink) ready(context.Context) error { return s.err }

func (s gapSink) close() {}

func TestAnswers(t *testing.T) {
	const event = `{"event":"view","os":"linux"}`
	tests := []struct {
		name, kind, body string
		err              error
		status           int
		want             string
	}{
		{"one event", "application/json", event, nil, 200, `{"status":"ok","partition":2,"offset":17}`},
		{"a batch", "application/x-ndjson", event + "\n" + event + "\n" + event + "\n", nil, 200,
			`{"status":"ok","accepted":3,"rejected":[],"receipts":[{"partition":0,"offset":10,"count":2},{"partition":1,"offset":10,"count":1}]}`},
		{"a batch with a bad event", "application/x-ndjson", event + "\n\n{}", nil, 200,
			"{\"status\":\"partial\",\"accepted\":1,\"rejected\":[{\"index\":1,\"code\":\"INVALID_EVENT\",\"detail\":\"must have a string `event`\"}],\"receipts\":[{\"partition\":0,\"offset\":10,\"count\":1}]}"},
		{"no object", "application/json", `["view"]`, nil, 422, "INVALID_EVENT"},
		{"no JSON", "application/json", `{"event":"view"`, nil, 422, "INVALID_EVENT"},
		{"event of another type", "application/json", `{"event":1}`, nil, 422, "INVALID_EVENT"},
		{"a body over the limit", "application/json", `{"event":"` + strings.Repeat("a", 1000) + `"}`, nil, 413, "BODY_TOO_LARGE"},
		{"another type", "text/html", event, nil, 415, "UNSUPPORTED_TYPE"},
		{"no Kafka", "application/json", event, errors.New("away"), 503, "away"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			collector := &collector{sink: gapSink{test.err}, maxBody: 1000}
			request := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(test.body))
			request.Header.Set("Content-Type", test.kind)
			response := httptest.NewRecorder()
			collector.routes().ServeHTTP(response, request)
			if got := response.Body.String(); response.Code != test.status || !strings.Contains(got, test.want) {
				t.Errorf("got %d %s, want %d %s", response.Code, got, test.status, test.want)
			}
		})
	}
}
