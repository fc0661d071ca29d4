// Reads an OTLP export request in JSON as an OpenTelemetry Collector does, and writes what was understood of it.
package main

import (
	"fmt"
	"io"
	"os"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalJSON(body); err != nil {
		fail(err)
	}
	understood, err := request.MarshalJSON()
	if err != nil {
		fail(err)
	}
	if _, err := os.Stdout.Write(understood); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
