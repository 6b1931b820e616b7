package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// The control socket of an access process takes one request a line, as JSON, and
// answers each with one line.

// request changes what it names; the answer always has the whole state.
type request struct {
	Up     *Impairment `json:"up,omitempty"`   // new impairment of the uplink
	Down   *Impairment `json:"down,omitempty"` // of the downlink
	Tunnel *Tunnel     `json:"tunnel,omitempty"`
}

type response struct {
	Error string `json:"error,omitempty"`
	Stats Stats  `json:"stats"`
}

// Stats are the counters and the state of one access since its process began.
type Stats struct {
	Up   DirectionStats `json:"up"`
	Down DirectionStats `json:"down"`

	Tunnel      *Tunnel `json:"tunnel,omitempty"` // uplink; nil while none is known
	Echo        uint64  `json:"echo"`             // Echo Requests answered
	Errors      uint64  `json:"errorIndications"`
	EndMarkers  uint64  `json:"endMarkers"`
	UnknownTEID uint64  `json:"unknownTEID"` // G-PDUs for another downlink TEID, dropped
	Other       uint64  `json:"other"`       // GTP-U messages of other types
}

// DirectionStats are the [Counters] of one direction, and its impairment.
type DirectionStats struct {
	Packets    uint64     `json:"packets"`
	Bytes      uint64     `json:"bytes"`
	Lost       uint64     `json:"lost"`
	QueueFull  uint64     `json:"queueFull"`
	BlackHole  uint64     `json:"blackHole"`
	Overflow   uint64     `json:"overflow"`
	Reordered  uint64     `json:"reordered"`
	Duplicated uint64     `json:"duplicated"`
	Marked     uint64     `json:"marked"`
	Stripped   uint64     `json:"stripped"`
	SendFailed uint64     `json:"sendFailed"`
	Malformed  uint64     `json:"malformed"`
	Impairment Impairment `json:"impairment"`
}

// Dropped is the number of packets that came in and did not go out.
func (s *DirectionStats) Dropped() uint64 {
	return s.Lost + s.QueueFull + s.BlackHole + s.Overflow + s.SendFailed + s.Malformed
}

// Of gives the statistics of one direction; both is not one.
func (s *Stats) Of(d Direction) *DirectionStats {
	if d == DirectionDown {
		return &s.Down
	}
	return &s.Up
}

func (a *access) stats() Stats {
	s := Stats{
		Tunnel:      a.tunnel.Load(),
		Echo:        a.gtpu.Echo.Load(),
		Errors:      a.gtpu.Errors.Load(),
		EndMarkers:  a.gtpu.EndMarkers.Load(),
		UnknownTEID: a.gtpu.UnknownTEID.Load(),
		Other:       a.gtpu.Other.Load(),
	}
	for d := range a.count {
		c := &a.count[d]
		*s.Of(Direction(d + 1)) = DirectionStats{
			Packets:    c.Packets.Load(),
			Bytes:      c.Bytes.Load(),
			Lost:       c.Lost.Load(),
			QueueFull:  c.QueueFull.Load(),
			BlackHole:  c.BlackHole.Load(),
			Overflow:   c.Overflow.Load(),
			Reordered:  c.Reordered.Load(),
			Duplicated: c.Duplicated.Load(),
			Marked:     c.Marked.Load(),
			Stripped:   c.Stripped.Load(),
			SendFailed: c.SendFailed.Load(),
			Malformed:  c.Malformed.Load(),
			Impairment: *a.im[d].Load(),
		}
	}
	return s
}

// serveControl answers requests until the listener is closed.
func (a *access) serveControl(ctx context.Context) (net.Listener, error) {
	if err := os.Remove(a.cfg.Control); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", a.cfg.Control)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go a.serveConn(ctx, c)
		}
	}()
	return l, nil
}

func (a *access) serveConn(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	lines := bufio.NewScanner(c)
	answers := json.NewEncoder(c)
	for lines.Scan() {
		var resp response
		var req request
		err := json.Unmarshal(lines.Bytes(), &req)
		if err == nil {
			err = a.apply(&req)
		}
		if err != nil {
			resp.Error = err.Error()
		}
		resp.Stats = a.stats()
		if answers.Encode(&resp) != nil {
			return
		}
	}
}

// apply does all of a request or, if a value is out of its range, nothing.
func (a *access) apply(req *request) error {
	for _, im := range []*Impairment{req.Up, req.Down} {
		if im != nil {
			if err := im.Validate(); err != nil {
				return err
			}
		}
	}
	if t := req.Tunnel; t != nil {
		if err := t.validate(); err != nil {
			return err
		}
		a.tunnel.Store(t)
	}
	if req.Up != nil {
		a.im[DirectionUp-1].Store(req.Up)
	}
	if req.Down != nil {
		a.im[DirectionDown-1].Store(req.Down)
	}
	return nil
}

func (t *Tunnel) validate() error {
	if t.TEID == 0 || !t.Peer.Is4() {
		return fmt.Errorf("tunnel %#x at %v: TEID must not be 0, peer must be IPv4", t.TEID, t.Peer)
	}
	return nil
}

// ask sends one request to the access process behind the control socket path.
func ask(path string, req request) (Stats, error) {
	c, err := net.DialTimeout("unix", path, controlTimeout)
	if err != nil {
		return Stats{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return Stats{}, err
	}
	if err := json.NewEncoder(c).Encode(&req); err != nil {
		return Stats{}, err
	}
	var resp response
	if err := json.NewDecoder(c).Decode(&resp); err != nil {
		return Stats{}, fmt.Errorf("answer of %s: %w", path, err)
	}
	if resp.Error != "" {
		return Stats{}, errors.New(resp.Error)
	}
	return resp.Stats, nil
}

const controlTimeout = 5 * time.Second
