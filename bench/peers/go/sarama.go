package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/IBM/sarama"
)

// saramaSink is what articles about collectors in Go show: a synchronous producer that waits for the leader only.
type saramaSink struct {
	client     sarama.Client
	producer   sarama.SyncProducer
	topic      string
	partitions []int32
	requests   atomic.Uint32
}

func openSarama(brokers []string, topic string) (*saramaSink, error) {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForLocal
	config.Producer.Compression = sarama.CompressionSnappy
	config.Producer.Return.Successes = true
	// The default takes a partition by chance for each event, which would scatter the receipts of a batch.
	config.Producer.Partitioner = sarama.NewManualPartitioner
	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		return nil, err
	}
	partitions, err := client.Partitions(topic)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &saramaSink{client: client, producer: producer, topic: topic, partitions: partitions}, nil
}

func (s *saramaSink) storeOne(_ context.Context, event []byte) (place, error) {
	partition, offset, err := s.producer.SendMessage(s.message(event, s.nextPartition()))
	return place{partition, offset}, err
}

func (s *saramaSink) storeAll(_ context.Context, events [][]byte) ([]place, error) {
	partition := s.nextPartition()
	messages := make([]*sarama.ProducerMessage, len(events))
	for i, event := range events {
		messages[i] = s.message(event, partition)
	}
	if err := s.producer.SendMessages(messages); err != nil {
		return nil, err
	}
	places := make([]place, len(events))
	for i, message := range messages {
		places[i] = place{message.Partition, message.Offset}
	}
	return places, nil
}

func (s *saramaSink) message(event []byte, partition int32) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: s.topic, Partition: partition, Value: sarama.ByteEncoder(event)}
}

func (s *saramaSink) nextPartition() int32 {
	return s.partitions[s.requests.Add(1)%uint32(len(s.partitions))]
}

func (s *saramaSink) ready(context.Context) error { return s.client.RefreshMetadata(s.topic) }

func (s *saramaSink) close() { _ = errors.Join(s.producer.Close(), s.client.Close()) }
