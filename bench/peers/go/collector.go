package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// collector answers posts once their events are stored.
type collector struct {
	sink     sink
	maxBody  int64
	inFlight atomic.Int64
	accepted atomic.Int64
}

func (c *collector) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/events", c.post)
	mux.HandleFunc("GET /readyz", c.readyz)
	mux.HandleFunc("GET /status", c.status)
	mux.HandleFunc("GET /metrics", c.metrics)
	return mux
}

func (c *collector) post(w http.ResponseWriter, r *http.Request) {
	c.inFlight.Add(1)
	defer c.inFlight.Add(-1)
	body, err := readBody(w, r, c.maxBody)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		refuse(w, http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE", err)
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "UNREADABLE_BODY", err)
		return
	}
	switch r.Header.Get("Content-Type") {
	case "", "application/json":
		c.postOne(w, r, body)
	case "application/x-ndjson":
		c.postLines(w, r, body)
	default:
		refuse(w, http.StatusUnsupportedMediaType, "UNSUPPORTED_TYPE", errors.New("post JSON or NDJSON"))
	}
}

func (c *collector) postOne(w http.ResponseWriter, r *http.Request, event []byte) {
	if err := checkEvent(event); err != nil {
		refuse(w, http.StatusUnprocessableEntity, invalidEvent, err)
		return
	}
	place, err := c.sink.storeOne(r.Context(), event)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "BUFFER_UNAVAILABLE", err)
		return
	}
	c.accepted.Add(1)
	answer(w, http.StatusOK, appendReceipt(nil, place))
}

func (c *collector) postLines(w http.ResponseWriter, r *http.Request, body []byte) {
	events, rejected := splitLines(body)
	if len(events) == 0 {
		refuse(w, http.StatusUnprocessableEntity, invalidEvent, errors.New("no event of the batch is valid"))
		return
	}
	places, err := c.sink.storeAll(r.Context(), events)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "BUFFER_UNAVAILABLE", err)
		return
	}
	c.accepted.Add(int64(len(events)))
	answer(w, http.StatusOK, appendReceipts(nil, rejected, places))
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, limit)
	if r.ContentLength < 0 || r.ContentLength > limit {
		return io.ReadAll(limited)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(limited, body)
	return body, err
}

// splitLines returns the valid events, which share memory with the body, and what is wrong with the others.
func splitLines(body []byte) (events [][]byte, rejected []rejection) {
	events = make([][]byte, 0, bytes.Count(body, []byte{'\n'})+1)
	index := 0
	for line := range bytes.SplitSeq(body, []byte{'\n'}) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := checkEvent(line); err != nil {
			rejected = append(rejected, rejection{index, invalidEvent, err.Error()})
		} else {
			events = append(events, line)
		}
		index++
	}
	return events, rejected
}

// checkEvent tells whether it is a JSON object with a string `event`.
func checkEvent(body []byte) error {
	var event struct {
		Event *string `json:"event"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	if event.Event == nil {
		return errors.New("must have a string `event`")
	}
	return nil
}
