package e2e

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// Of struct tcp_info.
const (
	tcpiOptECN       = 8  // negotiated
	tcpiOptECNSeen   = 16 // an ECN-capable packet arrived
	infiniteSsthresh = 1<<31 - 1
)

// ecn switches ECN on at both ends, and has the 3GPP access mark a share of one
// direction's packets.
func (f *fixture) ecn(d lab.Direction) {
	f.Helper()
	f.sysctl("net/ipv4/tcp_ecn", "1")
	f.sysctlIn(lab.DN, "net/ipv4/tcp_ecn", "1")
	f.link(tgpp, lab.Impairment{Rate: 100e6, Delay: 5 * time.Millisecond, Mark: 0.02, Direction: d})
}

// reduced checks that the sender slowed down because of marks, not of loss.
func (f *fixture) reduced(who string, i *unix.TCPInfo) {
	f.Helper()
	f.Logf("%s: options %#x, ssthresh %d, cwnd %d, %d retransmissions, %d marks told", who, i.Options, i.Snd_ssthresh, i.Snd_cwnd, i.Total_retrans, i.Delivered_ce)
	if i.Options&tcpiOptECN == 0 {
		f.Errorf("%s: ECN is not negotiated", who)
	}
	if i.Total_retrans == 0 && i.Snd_ssthresh == infiniteSsthresh || i.Delivered_ce == 0 {
		f.Errorf("%s: ssthresh %d after %d retransmissions and %d marks", who, i.Snd_ssthresh, i.Total_retrans, i.Delivered_ce)
	}
}

// Marks on an access reach the UE, their echo the server, which slows down.
func TestECNDownload(t *testing.T) {
	f := begin(t)
	f.ecn(lab.DirectionDown)
	b := pattern(3_000_000)
	info := make(chan *unix.TCPInfo, 1)
	addr := f.serve(func(c *net.TCPConn) error {
		if err := expect(c, []byte("go")); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		var i *unix.TCPInfo
		var errInfo error
		err = raw.Control(func(fd uintptr) { i, errInfo = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
		info <- i
		if err != nil {
			return err
		}
		return errInfo
	})
	c := f.dial(addr)
	_, err := c.Write([]byte("go"))
	f.check(err)
	f.check(expect(c, b))
	f.check(expectEOF(c))
	f.reduced("server", <-info)
	if n := f.rose("IpExtInCEPkts"); n == 0 {
		t.Error("no marked packet reached the UE")
	} else {
		t.Logf("%d marked packets reached the UE", n)
	}
	f.mptcp(inspector(c), 1)
}

// Marks on one of two accesses in use slow down that subflow, not the other.
func TestECNUpload(t *testing.T) {
	f := begin(t)
	f.setPolicy(balance(50))
	f.ecn(lab.DirectionUp)
	b := pattern(4_000_000)
	addr := f.serve(func(c *net.TCPConn) error { return expect(c, b) })
	c := f.dial(addr)
	_, err := c.Write(b[:1000])
	f.check(err)
	f.awaitSubflows(inspector(c))
	_, err = c.Write(b[1000:])
	f.check(err)
	f.await("all data acknowledged", transferTime, func() bool { return f.sendQueue(c) == 0 })
	info, err := mptcpclient.Inspect(c)
	f.check(err)
	for i := range info.Subflows {
		s := &info.Subflows[i]
		if s.Local.Addr() == lab.UEAddr[tgpp] {
			f.reduced("subflow over 3GPP", &s.TCP)
			continue
		}
		t.Logf("subflow over non-3GPP: options %#x, ssthresh %d, %d retransmissions, %d marks told", s.TCP.Options, s.TCP.Snd_ssthresh, s.TCP.Total_retrans, s.TCP.Delivered_ce)
		if s.TCP.Delivered_ce != 0 {
			t.Errorf("the subflow over non-3GPP was told of %d marks", s.TCP.Delivered_ce)
		}
	}
	if n := f.mib(lab.DN)["IpExtInCEPkts"] - f.dn["IpExtInCEPkts"]; n == 0 {
		t.Error("no marked packet reached the server")
	} else {
		t.Logf("%d marked packets reached the server", n)
	}
}
