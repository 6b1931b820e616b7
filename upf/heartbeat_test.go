package upf

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// countingHandler counts the log's lines with one message.
type countingHandler struct {
	slog.Handler
	text string
	n    *atomic.Int64
}

func (h countingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h countingHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.text {
		h.n.Add(1)
	}
	return nil
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

// TestPeerDown: a peer that answers no heartbeat is down, once, keeps its sessions,
// and is up again when it says anything.
func TestPeerDown(t *testing.T) {
	var lines atomic.Int64
	log := slog.New(countingHandler{slog.DiscardHandler, "peer does not answer", &lines})
	b := newBenchOf(t, testCfg(t, func(c *Config) { c.Braid.Heartbeat = time.Millisecond; c.PFCP.RetransTimeout = 2 * time.Millisecond }), log)
	b.associate()
	seid := func() uint64 { // heartbeats come in between
		req := establishment(1, plainSession(0x10, "10.60.0.10"))
		return upSEIDOf(t, b.askAmong(req))
	}()
	eventually(t, "down", func() bool { return b.s.Nodes()[0].Down })
	// Down already when the request came, it came up by it, and is down for a second time.
	failures := b.s.Nodes()[0].Failures
	sequences := map[uint32]bool{}
	for len(sequences) < 5 { // some rounds more
		sequences[b.receive().Sequence()] = true
	}
	if n := b.s.Nodes()[0]; !n.Down || n.Failures != failures || failures > 2 || n.Sessions != 1 || lines.Load() != int64(failures) {
		t.Errorf("%+v, %d failures before, %d lines of log", n, failures, lines.Load())
	}
	if b.plane.of(seid) == nil {
		t.Error("the session is gone")
	}
	// The same Recovery Time Stamp: the peer was never away. While it answers it stays up.
	for b.s.Nodes()[0].Down {
		b.answerHeartbeat()
	}
	if n := b.s.Nodes()[0]; n.Sessions != 1 || time.Since(n.Since) > time.Minute {
		t.Errorf("%+v", n)
	}
}

// TestPeerUpByRequest: a request of a peer shows that it is there.
func TestPeerUpByRequest(t *testing.T) {
	b := newBench(t)
	b.associate()
	b.s.mu.Lock()
	b.s.silent(b.s.nodes[cpNode], pfcp.ErrTimeout)
	b.s.mu.Unlock()
	if !b.s.Nodes()[0].Down {
		t.Fatal("not down")
	}
	b.ask(message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil))
	if b.s.Nodes()[0].Down {
		t.Error("still down")
	}
}

func (b *bench) answerHeartbeat() {
	if req, ok := b.receive().(*message.HeartbeatRequest); ok {
		b.answer(req, message.NewHeartbeatResponse(0, pfcp.RecoveryTimeStampIE(cpStarted)))
	}
}

// askAmong is ask while the server sends requests of its own.
func (b *bench) askAmong(req message.Message) message.Message {
	b.t.Helper()
	b.seq++
	req.SetSequenceNumber(b.seq)
	if _, err := b.conn.WriteToUDPAddrPort(encoded(b.t, req), b.s.LocalAddr()); err != nil {
		b.t.Fatal(err)
	}
	for {
		if m := b.receive(); m.MessageType() == req.MessageType()+1 && m.Sequence() == b.seq {
			return m
		}
	}
}
