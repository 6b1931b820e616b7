package pfcp

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/message"
)

// TestStart: done is called once, with what has become of the request.
func TestStart(t *testing.T) {
	type result struct {
		resp message.Message
		err  error
	}
	results := make(chan result, 10)
	done := func(resp message.Message, err error) { results <- result{resp, err} }
	server, mute := open(t, Config{}, heartbeats), open(t, Config{}, silent)
	client := open(t, Config{RetransTimeout: 20 * time.Millisecond, MaxRetrans: 1}, silent)

	if _, err := client.Start(server.LocalAddr(), heartbeat(), done); err != nil {
		t.Fatal(err)
	}
	if r := <-results; r.err != nil || r.resp.MessageType() != message.MsgTypeHeartbeatResponse {
		t.Errorf("got %+v", r)
	}
	if _, err := client.Start(mute.LocalAddr(), heartbeat(), done); err != nil {
		t.Fatal(err)
	}
	if r := <-results; !errors.Is(r.err, ErrTimeout) {
		t.Errorf("got %+v", r)
	}
	// A second request out of done, on the goroutine that delivers the first answer.
	if _, err := client.Start(server.LocalAddr(), heartbeat(), func(message.Message, error) {
		if _, err := client.Start(server.LocalAddr(), heartbeat(), done); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if r := <-results; r.err != nil {
		t.Errorf("got %+v", r)
	}
	client.mu.Lock()
	left := len(client.pending)
	client.mu.Unlock()
	if left != 0 || len(results) != 0 {
		t.Errorf("%d requests and %d results are left", left, len(results))
	}
}

// TestStartEnds: stop and Close end what is under way: stop without a word.
func TestStartEnds(t *testing.T) {
	mute := open(t, Config{}, silent).LocalAddr()
	client := open(t, Config{RetransTimeout: time.Hour}, silent)
	var stopped atomic.Int32
	stop, err := client.Start(mute, heartbeat(), func(message.Message, error) { stopped.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	closed := make(chan error, 2)
	if _, err := client.Start(mute, heartbeat(), func(_ message.Message, err error) { closed <- err }); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	if err := <-closed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Start(mute, heartbeat(), func(message.Message, error) { stopped.Add(1) }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if n := stopped.Load(); n != 0 {
		t.Errorf("done was called %d times", n)
	}
}
