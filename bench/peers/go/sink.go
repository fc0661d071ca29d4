package main

import "context"

// place is where an event is stored.
type place struct {
	partition int32
	offset    int64
}

// sink stores events in one topic of Kafka.
type sink interface {
	// storeOne returns when the event is stored.
	storeOne(ctx context.Context, event []byte) (place, error)
	// storeAll returns when every event is stored, with a place for each.
	storeAll(ctx context.Context, events [][]byte) ([]place, error)
	// ready tells whether events can be stored now.
	ready(ctx context.Context) error
	close()
}
