package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// TCP options that a UE may do without, and MPTCP's that it may insist on. Some loss
// has SACK and timestamps matter.
func TestClientOptions(t *testing.T) {
	const (
		timestamps = "net/ipv4/tcp_timestamps=0"
		sack       = "net/ipv4/tcp_sack=0"
		scaling    = "net/ipv4/tcp_window_scaling=0"
		checksum   = "net/mptcp/checksum_enabled=1"
		noJoinToUE = "net/mptcp/allow_join_initial_addr_port=0" // flag C in MP_CAPABLE
	)
	for _, tc := range []struct {
		name string
		v6   bool
		set  []string
	}{
		{"no timestamps", false, []string{timestamps}},
		{"no SACK", false, []string{sack}},
		{"no window scaling", false, []string{scaling}},
		{"nothing", false, []string{timestamps, sack, scaling}},
		{"nothing IPv6", true, []string{timestamps, sack, scaling}},
		{"checksum", false, []string{checksum}},
		{"checksum IPv6", true, []string{checksum}},
		{"checksum, nothing else", false, []string{checksum, timestamps, sack, scaling}},
		{"no join to the UE", false, []string{noJoinToUE}},
	} {
		for _, d := range directions {
			t.Run(tc.name+"-"+d.name, func(t *testing.T) {
				f := begin(t)
				if tc.v6 {
					f.v6()
				}
				for _, s := range tc.set {
					key, value, _ := strings.Cut(s, "=")
					f.sysctl(key, value)
				}
				lossy := lab.Impairment{Rate: 100e6, Delay: 3 * time.Millisecond, Loss: 0.002}
				f.link(tgpp, lossy)
				f.link(nonTGPP, lossy)
				g := f.file(3_000_000)
				tr := d.start(f, g)
				d.end(f, tr, g)
				f.awaitSubflows(tr.Inspect) // its SYN may have been lost
			})
		}
	}
}

// A server that keeps nothing of a SYN puts what it needs into its SYN/ACK: ISN and
// timestamp must come back as they were.
func TestServerSYNCookies(t *testing.T) {
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps "+timestamps, func(t *testing.T) {
			f := begin(t)
			f.sysctlIn(lab.DN, "net/ipv4/tcp_syncookies", "2") // always
			f.sysctl("net/ipv4/tcp_timestamps", timestamps)
			g := f.file(3_000_000)
			for _, d := range directions {
				tr := d.start(f, g)
				d.end(f, tr, g)
				f.mptcp(tr.Inspect, 2)
			}
			if n := f.mib(lab.DN)["TcpExtSyncookiesRecv"] - f.dn["TcpExtSyncookiesRecv"]; n != 2 {
				t.Errorf("the server took %d SYN cookies, want 2", n)
			}
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
	e, err := mptcpclient.ListenUDPEcho(f.in(lab.DN), f.server.String()+":7")
	f.check(err)
	t.Cleanup(e.Close)
	for a, local := range lab.UEAddr {
		c := f.client
		c.Local = local
		for _, size := range []int{1, 100, 1372} { // 1372: a packet of the UE's MTU, 1400
			t.Run(fmt.Sprintf("%v-%d", steer.Access(a), size), func(t *testing.T) {
				if n, err := c.EchoUDP(f.server.String()+":7", 20, size, time.Second); n != 20 || err != nil {
					t.Errorf("UDP: %d of 20 came back, %v", n, err)
				}
				if n, err := c.Ping(f.server, 20, size, time.Second); n != 20 || err != nil {
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
