package upf

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// TestReplay sends what a real SMF sent to another UPF, with that UPF's SEIDs
// replaced by ours: every request is accepted.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/n4/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { replay(t, readCapture(t, file)) })
	}
}

func replay(t *testing.T, captures []capture) {
	b := newBench(t)
	var established, modified, deleted int
	seids := map[uint64]uint64{} // theirs to ours
	for i, c := range captures {
		if !c.fromCP {
			continue
		}
		d := append([]byte(nil), c.datagram...)
		session := d[0]&1 != 0
		if session {
			theirs := binary.BigEndian.Uint64(d[4:])
			if theirs != 0 && seids[theirs] == 0 {
				t.Fatalf("datagram %d: session %#x was not established", i, theirs)
			}
			binary.BigEndian.PutUint64(d[4:], seids[theirs])
		}
		resp, err := message.Parse(b.exchange(d))
		if err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
		if resp.MessageType() != d[1]+1 {
			t.Fatalf("datagram %d: request %d got answer %d", i, d[1], resp.MessageType())
		}
		if got := refusalOf(t, resp); got.cause != ie.CauseRequestAccepted && session {
			t.Fatalf("datagram %d (%x): %+v", i, d, got)
		}
		switch d[1] {
		case message.MsgTypeSessionEstablishmentRequest:
			established++
			theirs := upSEID(t, captures[i+1].datagram)
			seids[theirs] = upSEIDOf(t, resp)
			if r := b.plane.of(seids[theirs]); r == nil || len(r.Uplink) == 0 || len(r.Downlink) == 0 {
				t.Fatalf("datagram %d: plane has %+v", i, r)
			}
		case message.MsgTypeSessionModificationRequest:
			modified++
		case message.MsgTypeSessionDeletionRequest:
			deleted++
			if r := b.plane.of(binary.BigEndian.Uint64(d[4:])); r != nil {
				t.Fatalf("datagram %d: session is still there", i)
			}
		}
	}
	if established == 0 || modified == 0 {
		t.Fatalf("%d establishments, %d modifications: nothing was tested", established, modified)
	}
	t.Logf("%d sessions established, %d modifications, %d deleted", established, modified, deleted)
}

func upSEID(t *testing.T, datagram []byte) uint64 {
	t.Helper()
	m, err := message.Parse(datagram)
	if err != nil {
		t.Fatal(err)
	}
	return upSEIDOf(t, m)
}

func upSEIDOf(t *testing.T, m message.Message) uint64 {
	t.Helper()
	for _, i := range iesOf(t, m) {
		if i.Type == ie.FSEID {
			f, err := pfcp.ParseFSEID(i)
			if err != nil {
				t.Fatal(err)
			}
			return f.SEID
		}
	}
	t.Fatal("no F-SEID")
	return 0
}
