package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// TCP options that a UE may do without. Some loss has SACK and timestamps matter.
func TestClientWithout(t *testing.T) {
	for _, tc := range []struct{ name, key, value string }{
		{"timestamps", "net/ipv4/tcp_timestamps", "0"},
		{"SACK", "net/ipv4/tcp_sack", "0"},
		{"window scaling", "net/ipv4/tcp_window_scaling", "0"},
	} {
		for _, d := range directions {
			t.Run(tc.name+"-"+d.name, func(t *testing.T) {
				f := begin(t)
				f.sysctl(tc.key, tc.value)
				lossy := lab.Impairment{Rate: 100e6, Delay: 3 * time.Millisecond, Loss: 0.002}
				f.link(tgpp, lossy)
				f.link(nonTGPP, lossy)
				g := f.file(4_000_000)
				tr := d.start(f, g)
				d.end(f, tr, g)
				f.mptcp(tr.Inspect, 2)
			})
		}
	}
}

// A client that wants checksums gets them, or plain TCP (RFC 8684 section 3.1
// leaves it to us to refuse): in both cases its bytes arrive.
func TestClientWithChecksums(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			f := begin(t)
			f.sysctl("net/mptcp/checksum_enabled", "1")
			g := f.file(4_000_000)
			tr := d.start(f, g)
			d.end(f, tr, g)
			f.mptcp(tr.Inspect, 2)
		})
	}
}

func TestPlainTCP(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			f := begin(t)
			f.client.Plain = true
			g := f.file(10_000_000)
			tr := d.start(f, g)
			d.end(f, tr, g)
			info, err := tr.Inspect()
			f.check(err)
			if info.MPTCP || len(info.Subflows) != 1 {
				t.Errorf("a plain TCP client has MPTCP %v, subflows %v", info.MPTCP, info.Subflows)
			}
			if n := f.rose("MPTcpExtMPCapableSYNTX"); n != 0 {
				t.Errorf("%d SYNs with MP_CAPABLE from a plain TCP client", n)
			}
		})
	}
}

func TestUDPAndPing(t *testing.T) {
	f := begin(t)
	e, err := mptcpclient.ListenUDPEcho(f.in(lab.DN), serverAddr.String()+":7")
	f.check(err)
	t.Cleanup(e.Close)
	for a, local := range lab.UEAddr {
		c := f.client
		c.Local = local
		for _, size := range []int{1, 100, 1372} { // 1372: a packet of the UE's MTU, 1400
			t.Run(fmt.Sprintf("%v-%d", steer.Access(a), size), func(t *testing.T) {
				if n, err := c.EchoUDP(serverAddr.String()+":7", 20, size, time.Second); n != 20 || err != nil {
					t.Errorf("UDP: %d of 20 came back, %v", n, err)
				}
				if n, err := c.Ping(serverAddr, 20, size, time.Second); n != 20 || err != nil {
					t.Errorf("ping: %d of 20 came back, %v", n, err)
				}
			})
		}
		if up := f.carried(lab.DirectionUp); up[a] < 120*28 {
			t.Errorf("%v: the access of the source address carried %v bytes up", steer.Access(a), up)
		}
	}
	// The session's MAR steers downlink packets too: all replies on the active access.
	if down := f.carried(lab.DirectionDown); down[tgpp] < 240*28 || down[nonTGPP] != 0 {
		t.Errorf("downlink carried by access: %v, want all on 3GPP", down)
	}
}
