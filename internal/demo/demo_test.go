package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
)

func TestValidate(t *testing.T) {
	good := func() *Config { return &Config{Size: MinSize, Outage: MinOutage} }
	if err := good().Validate(); err != nil {
		t.Errorf("least values: %v", err)
	}
	for want, spoil := range map[string]func(*Config){
		"size":     func(c *Config) { c.Size-- },
		"outage":   func(c *Config) { c.Outage -= time.Nanosecond },
		"non-3gpp": func(c *Config) { c.Link[steer.AccessNon3GPP].Delay = -1 },
	} {
		c := good()
		spoil(c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s out of range: %v", want, err)
		}
	}
}

func TestPayload(t *testing.T) {
	const size = 3_000_001
	path := filepath.Join(t.TempDir(), "payload")
	sum, err := writePayload(path, size)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(b)
	if len(b) != size || sum != hex.EncodeToString(want[:]) {
		t.Errorf("%d bytes, sum %s; want %d, %x", len(b), sum, size, want)
	}
	if got, err := sumFile(path); err != nil || got != sum {
		t.Errorf("sumFile: %s, %v; want %s", got, err, sum)
	}
	if again, err := writePayload(path, size); err != nil || again == sum {
		t.Errorf("the second payload is like the first: %s, %v", again, err)
	}
	if _, err := writePayload(filepath.Join(path, "under-a-file"), 1); err == nil {
		t.Error("a file that cannot be made is no error")
	}
}
