package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
)

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
	return serveLines(ctx, a.cfg.Control, func(_ context.Context, req request) (resp response) {
		if err := a.apply(&req); err != nil {
			resp.Error = err.Error()
		}
		resp.Stats = a.stats()
		return resp
	})
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
	var resp response
	if err := askLine(path, &req, &resp); err != nil {
		return Stats{}, err
	}
	if resp.Error != "" {
		return Stats{}, errors.New(resp.Error)
	}
	return resp.Stats, nil
}
