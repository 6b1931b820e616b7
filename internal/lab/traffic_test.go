package lab_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// client is an HTTP client in the UE over the kernel's MPTCP.
func client(l *lab.Lab, mptcp bool) *http.Client {
	dial := func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = l.InNamespace(lab.UE, func() error {
			var d net.Dialer
			d.SetMultipathTCP(mptcp)
			c, err = d.DialContext(ctx, network, address)
			return err
		})
		return c, err
	}
	return &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DialContext: dial}}
}

// serveMPTCP serves body in the data network over the kernel's MPTCP.
func serveMPTCP(t *testing.T, l *lab.Lab, at netip.AddrPort, body []byte) {
	t.Helper()
	var ln net.Listener
	if err := l.InNamespace(lab.DN, func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(true)
		ln, err = lc.Listen(t.Context(), "tcp", at.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body) // the client compares
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close() })
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// download gets url and compares what comes with want.
func download(t *testing.T, c *http.Client, url string, want []byte) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode/100 != 2 || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Fatalf("GET %s: %s, %d bytes, %d expected", url, resp.Status, len(got), len(want))
	}
}

func TestLabCarriesPingOnBothAccesses(t *testing.T) {
	l := up(t, "labtest-ping", lab.Options{IPv6: true, UEAddresses: 2})
	for a := range steer.Access(steer.NumAccesses) {
		before := stats(t, l, a)
		for k := range 2 {
			for _, v6 := range []bool{false, true} {
				from, to := lab.UEAddress(a, k, v6), lab.DNAddr
				if v6 {
					to = lab.DNAddr6
				}
				if n := len(ping(t, l, from, to, 5, 2*time.Second)); n != 5 {
					t.Errorf("%d of 5 pings from %v to %v were answered", n, from, to)
				}
			}
		}
		after := stats(t, l, a)
		if up, down := after.Up.Packets-before.Up.Packets, after.Down.Packets-before.Down.Packets; up != 20 || down != 20 {
			t.Errorf("%v carried %d packets up and %d down, want the 20 echoes each", a, up, down)
		}
	}
}

func TestLabDelayAndDown(t *testing.T) {
	l := up(t, "labtest-delay", lab.Options{})
	const oneWay = 30 * time.Millisecond
	if err := l.Link(steer.AccessNon3GPP, lab.Impairment{Delay: oneWay}); err != nil {
		t.Fatal(err)
	}
	from, to := lab.UEAddr[steer.AccessNon3GPP], lab.DNAddr
	took := ping(t, l, from, to, 10, time.Second)
	if len(took) != 10 || slices.Min(took) < 2*oneWay || slices.Sorted(slices.Values(took))[5] > 2*oneWay+5*time.Millisecond {
		t.Errorf("round trips of %v, want 10 of %v", took, 2*oneWay)
	}

	if err := l.Link(steer.AccessNon3GPP, lab.Impairment{Down: true}); err != nil {
		t.Fatal(err)
	}
	if took := ping(t, l, from, to, 5, 100*time.Millisecond); len(took) != 0 {
		t.Errorf("%d pings got through an access that is down", len(took))
	}
	if took := ping(t, l, lab.UEAddr[steer.Access3GPP], to, 2, time.Second); len(took) != 2 {
		t.Errorf("%d of 2 pings got through the other access", len(took))
	}
	s := stats(t, l, steer.AccessNon3GPP)
	if s.Up.BlackHole != 5 || s.Down.BlackHole != 0 {
		t.Errorf("swallowed %d up and %d down, want the 5 requests", s.Up.BlackHole, s.Down.BlackHole)
	}
	if err := l.Link(steer.AccessNon3GPP, lab.Impairment{}); err != nil {
		t.Fatal(err)
	}
	if took := ping(t, l, from, to, 2, time.Second); len(took) != 2 {
		t.Errorf("%d of 2 pings got through after the access came back", len(took))
	}
}

func TestLabNginx(t *testing.T) {
	l := up(t, "labtest-nginx", lab.Options{})
	body := randomBytes(20 << 20)
	if err := os.WriteFile(filepath.Join(l.WWW(), "file"), body, 0o644); err != nil {
		t.Fatal(err)
	}
	base := "http://" + lab.DNAddr.String()
	c := client(l, false)
	download(t, c, base+"/file", body)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+"/upload/deep/down/file", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("PUT: %s", resp.Status)
	}
	got, err := os.ReadFile(filepath.Join(l.WWW(), "upload/deep/down/file"))
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("uploaded file differs, %d bytes of %d, %v", len(got), len(body), err)
	}
}

func TestLabTCPUsesCubicAtBothEnds(t *testing.T) {
	l := up(t, "labtest-cubic", lab.Options{})
	var ln net.Listener
	if err := l.InNamespace(lab.DN, func() (err error) {
		ln, err = net.Listen("tcp4", netip.AddrPortFrom(lab.DNAddr, 8080).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for a := range steer.Access(steer.NumAccesses) {
		var c net.Conn
		if err := l.InNamespace(lab.UE, func() (err error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(lab.UEAddr[a], 0)), Timeout: 5 * time.Second}
			d.SetMultipathTCP(false)
			c, err = d.Dial("tcp4", ln.Addr().String())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if ue, dn := congestionControl(t, c), congestionControl(t, s); ue != "cubic" || dn != "cubic" {
			t.Errorf("%v: the UE uses %s and the data network %s", a, ue, dn)
		}
	}
}

func congestionControl(t *testing.T, c net.Conn) (name string) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) {
		name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return name
}

// A kernel MPTCP client and server, the UPF's stand-in between them: both accesses
// carry one connection, and one lives on without the other.
func TestLabMPTCPOverBothAccesses(t *testing.T) {
	l := up(t, "labtest-mptcp", lab.Options{})
	body := randomBytes(12 << 20)
	at := netip.AddrPortFrom(lab.DNAddr, 8080)
	serveMPTCP(t, l, at, body)
	const rate = 50e6
	for a := range steer.Access(steer.NumAccesses) {
		if err := l.Link(a, lab.Impairment{Rate: rate, Delay: 5 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
	}
	before, err := l.MIB(lab.UE)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	download(t, client(l, true), "http://"+at.String()+"/", body)
	took := time.Since(begun)
	after, err := l.MIB(lab.UE)
	if err != nil {
		t.Fatal(err)
	}
	if n := after["MPTcpExtMPJoinSynAckRx"] - before["MPTcpExtMPJoinSynAckRx"]; n != 1 {
		t.Errorf("%d subflows joined, want 1", n)
	}
	for a := range steer.Access(steer.NumAccesses) {
		s := stats(t, l, a)
		if s.Down.Bytes < uint64(len(body))/10 {
			t.Errorf("%v carried %d bytes of %d", a, s.Down.Bytes, len(body))
		}
	}
	alone := time.Duration(float64(len(body)) * 8 / rate * float64(time.Second))
	if took > alone {
		t.Errorf("took %v over two accesses, one alone would take %v", took, alone)
	}

	carried := stats(t, l, steer.Access3GPP).Down.Bytes
	go func() { // once the download is under way on both
		for s := stats(t, l, steer.Access3GPP); s.Down.Bytes < carried+1<<20; s = stats(t, l, steer.Access3GPP) {
			time.Sleep(10 * time.Millisecond)
		}
		if err := l.Link(steer.Access3GPP, lab.Impairment{Down: true}); err != nil {
			t.Error(err)
		}
	}()
	download(t, client(l, true), "http://"+at.String()+"/", body)
	if s := stats(t, l, steer.Access3GPP); s.Up.BlackHole+s.Down.BlackHole == 0 {
		t.Error("the access that went down in the download swallowed nothing")
	}
}
