package lab_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wmnsk/go-gtp/gtpv1/ie"
	"github.com/wmnsk/go-gtp/gtpv1/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// TestMain lets the test binary be the processes that a lab starts: an access, as
// the braid command would be, and a stand-in for the UPF.
func TestMain(m *testing.M) {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "lab" && args[1] == "access":
		err = lab.RunAccess(context.Background(), args[2])
	case len(args) == 1 && args[0] == "stand-in":
		err = runStandIn()
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// need skips a test for what this machine lacks, or fails it where every test must
// run.
func need(t testing.TB) {
	t.Helper()
	var lacks []string
	if os.Geteuid() != 0 {
		lacks = append(lacks, "root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		lacks = append(lacks, "/dev/net/tun")
	}
	if _, err := os.Stat("/proc/sys/net/mptcp/enabled"); err != nil {
		lacks = append(lacks, "a kernel with MPTCP")
	}
	for _, tool := range []string{"nsenter", "ip", "nginx"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacks = append(lacks, "the command "+tool)
		}
	}
	if lacks == nil {
		return
	}
	what := "this test needs " + strings.Join(lacks, ", ")
	if os.Getenv("REQUIRE_E2E") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// up brings up a lab without a session, with a stand-in that forwards between
// accesses and data network and knows no MPTCP.
func up(t testing.TB, name string, opts lab.Options) *lab.Lab {
	t.Helper()
	need(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opts.Name, opts.BraidBin, opts.UPFCommand = name, self, []string{self, "stand-in"}
	opts.NoSession, opts.DieWithParent = true, true
	opts.Progress = t.Output()
	l, err := lab.Up(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob("/run/netns/" + name + "-*")
		if err != nil || len(left) > 0 {
			t.Errorf("namespaces left behind: %v %v", left, err)
		}
		for _, dir := range []string{l.Dir(), "/var/lib/braid-lab/" + name} {
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s left behind: %v", dir, err)
			}
		}
	})
	for a, teid := range map[steer.Access]uint32{steer.Access3GPP: standInTEID, steer.AccessNon3GPP: standInTEID + 1} {
		if err := l.SetTunnel(a, lab.Tunnel{TEID: teid, Peer: lab.UPFN3Addr}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

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
		w.Write(body)
	})}
	go srv.Serve(ln)
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

func stats(t testing.TB, l *lab.Lab, a steer.Access) lab.Stats {
	t.Helper()
	s, err := l.AccessStats(a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLabCarriesPingOnBothAccesses(t *testing.T) {
	l := up(t, "labtest-ping", lab.Options{IPv6: true})
	for a := range steer.Access(steer.NumAccesses) {
		before := stats(t, l, a)
		for _, path := range [][2]netip.Addr{{lab.UEAddr[a], lab.DNAddr}, {lab.UEAddr6[a], lab.DNAddr6}} {
			if n := len(ping(t, l, path[0], path[1], 5, 2*time.Second)); n != 5 {
				t.Errorf("%d of 5 pings from %v to %v were answered", n, path[0], path[1])
			}
		}
		after := stats(t, l, a)
		if up, down := after.Up.Packets-before.Up.Packets, after.Down.Packets-before.Down.Packets; up != 10 || down != 10 {
			t.Errorf("%v carried %d packets up and %d down, want the 10 echoes each", a, up, down)
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

	go func() {
		time.Sleep(300 * time.Millisecond)
		if err := l.Link(steer.Access3GPP, lab.Impairment{Down: true}); err != nil {
			t.Error(err)
		}
	}()
	download(t, client(l, true), "http://"+at.String()+"/", body)
	if s := stats(t, l, steer.Access3GPP); s.Up.BlackHole+s.Down.BlackHole == 0 {
		t.Error("the access that went down in the download swallowed nothing")
	}
}

func TestLabUpReplacesAndDownCleansAfterKill(t *testing.T) {
	const name = "labtest-again"
	first := up(t, name, lab.Options{})
	old, err := first.PID("access-3gpp")
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(first.Dir(), "left")
	if err := os.WriteFile(left, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	second := up(t, name, lab.Options{})
	if now, err := second.PID("access-3gpp"); err != nil || now == old {
		t.Errorf("the access of the first lab, pid %d, was not replaced: %d, %v", old, now, err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first lab's files are still there: %v", err)
	}

	// As a killed run would leave it: records gone, a namespace unbound, strangers in
	// the others.
	sleeper := second.Command(context.Background(), lab.DN, "sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sleeper.Wait() }()
	if err := exec.Command("umount", "/run/netns/"+name+"-ue").Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(second.Dir(), "lab.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Open(name); !errors.Is(err, lab.ErrNotUp) {
		t.Errorf("opening a lab without its options: %v", err)
	}
	if err := lab.Remove(name); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("a process in the lab's namespace outlived the lab")
	}
	if _, err := second.PID("nginx"); err == nil {
		t.Error("nginx outlived the lab")
	}
	if err := lab.Remove(name); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestLabUpShowsWhyAndTearsDown(t *testing.T) {
	need(t)
	const name = "labtest-fails"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, err = lab.Up(t.Context(), lab.Options{
		Name: name, BraidBin: self, NoSession: true, DieWithParent: true,
		UPFCommand: []string{"sh", "-c", "echo no such interface; exit 2"},
	})
	if err == nil || !strings.Contains(err.Error(), "no such interface") {
		t.Errorf("the error does not have the end of the UPF's log: %v", err)
	}
	left, err := filepath.Glob("/run/netns/" + name + "-*")
	if err != nil || len(left) > 0 {
		t.Errorf("namespaces left behind: %v %v", left, err)
	}
	if _, err := os.Stat("/run/braid/" + name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state left behind: %v", err)
	}
}

func TestUpRejectsOptions(t *testing.T) {
	for _, o := range []lab.Options{{Name: "a/b"}, {Name: "-x"}, {Name: ".."}, {Workers: -1}} {
		if l, err := lab.Up(t.Context(), o); err == nil {
			t.Errorf("%+v is taken as valid", o)
			l.Down()
		}
	}
}

func TestLabAccessAnswersGTPU(t *testing.T) {
	l := up(t, "labtest-gtpu", lab.Options{})
	conn := dialUDP(t, l, lab.UPF, lab.UPFN3Addr, netip.MustParseAddrPort("10.100.1.2:2152"))
	defer conn.Close()
	exchange := func(datagram []byte, wait time.Duration) []byte {
		t.Helper()
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 2048)
		n, err := conn.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		return buf[:n]
	}
	echo, err := message.NewEchoRequest(0x4711, ie.NewRecovery(0)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.ParseEchoResponse(exchange(echo, 2*time.Second))
	if err != nil || m.Sequence() != 0x4711 {
		t.Errorf("answer to an echo request: %+v, %v", m, err)
	}
	unknown := downlinkDatagram(100)
	unknown[7]++ // TEID
	endMarker := []byte{0x30, 254, 0, 0, 0, 0, 1, 1}
	errorIndication, err := message.NewErrorIndication(0, 0, ie.NewTEIDDataI(7), ie.NewGSNAddress("10.100.1.2")).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range [][]byte{unknown, endMarker, errorIndication, {0x30, 255, 9}, {0x30, 31, 0, 0, 0, 0, 0, 0}} {
		if _, err := conn.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	// The answer shows that what was sent before it has been taken.
	if len(exchange(echo, 2*time.Second)) == 0 {
		t.Error("no answer to the second echo request")
	}
	s := stats(t, l, steer.Access3GPP)
	got := []uint64{s.Echo, s.UnknownTEID, s.EndMarkers, s.Errors, s.Down.Malformed, s.Other, s.Down.Packets}
	if want := []uint64{2, 1, 1, 1, 1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("counters %v, want %v: %+v", got, want, s)
	}
	if err := l.Link(steer.Access3GPP, lab.Impairment{Down: true}); err != nil {
		t.Fatal(err)
	}
	if b := exchange(echo, 200*time.Millisecond); len(b) != 0 {
		t.Errorf("an access that is down answered an echo request with % x", b)
	}
}

// The uplink tunnel is what the smf's state file says, also after a change.
func TestLabAccessFollowsTheSMF(t *testing.T) {
	l := up(t, "labtest-follow", lab.Options{})
	for _, teid := range []uint32{0x1234, 0xabcd0001} {
		state := smf.State{Association: smf.Up, Sessions: []smf.SessionState{{Name: "lab", UPSEID: "0x1", Uplink: []smf.Tunnel{
			{Access: "3gpp", TEID: fmt.Sprintf("%#x", teid), Address: "10.100.1.1"},
			{Access: "non-3gpp", TEID: fmt.Sprintf("%#x", teid+1), Address: "10.100.1.1"},
		}}}}
		b, err := json.Marshal(&state)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(l.Dir(), "smf.json")
		if err := os.WriteFile(file+".new", b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		for a := range steer.Access(steer.NumAccesses) {
			want := lab.Tunnel{TEID: teid + uint32(a), Peer: lab.UPFN3Addr}
			var s lab.Stats
			for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if s = stats(t, l, a); s.Tunnel != nil && *s.Tunnel == want {
					break
				}
			}
			if s.Tunnel == nil || *s.Tunnel != want {
				t.Errorf("%v uses tunnel %v, the smf's state has %v", a, s.Tunnel, want)
			}
		}
	}
}
