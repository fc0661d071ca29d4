// Command peer is a small collector of the kind that is usually written in Go: it takes JSON events over HTTP, stores
// them in Kafka and answers with partition and offset. It exists to be measured beside Millrace.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to serve on")
	brokers := flag.String("brokers", "127.0.0.1:9092", "Kafka brokers, `host:port,...`")
	topic := flag.String("topic", "events", "Kafka topic, which must exist")
	mode := flag.String("mode", "franz", "franz (franz-go, acks=all, idempotent) or sarama (SyncProducer, acks=1)")
	linger := flag.Duration("linger", 0, "how long a batch waits for more records; franz only")
	maxBody := flag.Int64("max-body-bytes", 5<<20, "largest body of a request")
	flag.Parse()

	store, err := openSink(*mode, strings.Split(*brokers, ","), *topic, *linger)
	if err != nil {
		log.Fatal(err)
	}
	collector := &collector{sink: store, maxBody: *maxBody}
	if err := serve(*listen, collector); err != nil {
		log.Fatal(err)
	}
	store.close()
}

func openSink(mode string, brokers []string, topic string, linger time.Duration) (sink, error) {
	switch mode {
	case "franz":
		return openFranz(brokers, topic, linger)
	case "sarama":
		return openSarama(brokers, topic)
	}
	return nil, fmt.Errorf("--mode takes franz or sarama, not %q", mode)
}

// serve returns when a signal came and every request in flight was answered.
func serve(listen string, collector *collector) error {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	server := &http.Server{Addr: listen, Handler: collector.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	deadline, cancelDeadline := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelDeadline()
	return server.Shutdown(deadline)
}
