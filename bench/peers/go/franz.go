package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// franzSink waits for all in-sync replicas and stores nothing twice when it tries again: both are defaults of franz-go.
// So are the partitioner, which changes the partition every 64 KiB so that batches become large, and five requests in
// flight to a broker.
type franzSink struct{ client *kgo.Client }

func openFranz(brokers []string, topic string, linger time.Duration) (*franzSink, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerLinger(linger),
		kgo.RecordDeliveryTimeout(10*time.Second),
	)
	if err != nil {
		return nil, err
	}
	return &franzSink{client}, nil
}

func (s *franzSink) storeOne(ctx context.Context, event []byte) (place, error) {
	record, err := s.client.ProduceSync(ctx, &kgo.Record{Value: event}).First()
	if err != nil {
		return place{}, err
	}
	return place{record.Partition, record.Offset}, nil
}

func (s *franzSink) storeAll(ctx context.Context, events [][]byte) ([]place, error) {
	records := make([]kgo.Record, len(events))
	pointers := make([]*kgo.Record, len(events))
	for i, event := range events {
		records[i].Value = event
		pointers[i] = &records[i]
	}
	if err := s.client.ProduceSync(ctx, pointers...).FirstErr(); err != nil {
		return nil, err
	}
	places := make([]place, len(events))
	for i := range records {
		places[i] = place{records[i].Partition, records[i].Offset}
	}
	return places, nil
}

func (s *franzSink) ready(ctx context.Context) error { return s.client.Ping(ctx) }

func (s *franzSink) close() { s.client.Close() }
