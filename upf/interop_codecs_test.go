package upf

import (
	"testing"

	free5gc "github.com/free5gc/pfcp"
)

// free5gcBody is a message as free5GC's codec reads it.
func free5gcBody(t *testing.T, wire []byte) (*free5gc.Header, any) {
	t.Helper()
	var m free5gc.Message
	if err := m.Unmarshal(wire); err != nil {
		t.Fatalf("free5GC's codec: %v: %x", err, wire)
	}
	return &m.Header, m.Body
}
