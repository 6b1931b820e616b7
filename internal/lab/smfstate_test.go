package lab

import (
	"strings"
	"testing"

	"github.com/braid-upf/braid/smf"
)

func TestMissing(t *testing.T) {
	good := smf.SessionState{Name: "a", UPSEID: "0x1"}
	for name, c := range map[string]struct {
		state smf.State
		what  string // part of what is missing; "" = nothing
		err   string // part of the error; "" = none
	}{
		"no association":        {smf.State{Association: smf.Down, Error: "no answer"}, "association is down no answer", ""},
		"lost":                  {smf.State{Association: smf.Lost, Generation: 3}, "association is lost", ""},
		"older policy":          {smf.State{Association: smf.Up, Generation: 2, Error: "of the one before"}, "load 2 of 3", ""},
		"policy not taken":      {smf.State{Association: smf.Up, Generation: 3, Error: "bad line"}, "", "bad line"},
		"session refused":       {smf.State{Association: smf.Up, Generation: 3, Sessions: []smf.SessionState{good, {Name: "b", UPSEID: "0x2", Error: "cause 66"}}}, "", "session b: cause 66"},
		"session not there":     {smf.State{Association: smf.Up, Generation: 3, Sessions: []smf.SessionState{good, {Name: "b"}}}, "session b is not", ""},
		"established":           {smf.State{Association: smf.Up, Generation: 3, Sessions: []smf.SessionState{good}}, "", ""},
		"newer, and no session": {smf.State{Association: smf.Up, Generation: 4}, "", ""},
	} {
		what, err := missing(&c.state, 3)
		if !strings.Contains(what, c.what) || (what == "") != (c.what == "") {
			t.Errorf("%s: missing %q, want %q", name, what, c.what)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
	}
}

func TestTunnelOf(t *testing.T) {
	st := smf.State{Sessions: []smf.SessionState{
		{Name: "none"},
		{Name: "one", Uplink: []smf.Tunnel{{Access: "3gpp", TEID: "0x00000101", Address: "10.100.1.1"}}},
		{Name: "two", Uplink: []smf.Tunnel{{Access: "3gpp", TEID: "0x2", Address: "10.100.1.9"}}},
	}}
	got, err := tunnelOf(&st, "3gpp")
	if err != nil || got == nil || *got != (Tunnel{TEID: 0x101, Peer: UPFN3Addr}) {
		t.Errorf("3gpp: %v, %v; want the first session's", got, err)
	}
	if got, err := tunnelOf(&st, "non-3gpp"); got != nil || err != nil {
		t.Errorf("non-3gpp: %v, %v; want none", got, err)
	}
	for _, bad := range []smf.Tunnel{
		{Access: "3gpp", TEID: "x", Address: "10.100.1.1"},
		{Access: "3gpp", TEID: "0x100000000", Address: "10.100.1.1"},
		{Access: "3gpp", TEID: "0x1", Address: "upf"},
		{Access: "3gpp", TEID: "0", Address: "10.100.1.1"},
		{Access: "3gpp", TEID: "0x1", Address: "fd00::1"},
	} {
		st := smf.State{Sessions: []smf.SessionState{{Name: "bad", Uplink: []smf.Tunnel{bad}}}}
		if _, err := tunnelOf(&st, "3gpp"); err == nil {
			t.Errorf("%+v is taken as valid", bad)
		}
	}
}
