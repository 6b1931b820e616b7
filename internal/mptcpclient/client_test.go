package mptcpclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/internal/testenv"
)

// serve runs an HTTP server on loopback that holds payload at / and takes PUTs,
// whose hex SHA-256 it sends to the channel.
func serve(t *testing.T, mptcp bool, payload []byte) (url string, put <-chan string) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(mptcp)
	l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sums := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			h := sha256.New()
			_, _ = io.Copy(h, r.Body) // a short body has another sum
			sums <- hex.EncodeToString(h.Sum(nil))
			w.WriteHeader(http.StatusCreated)
		case r.URL.Path == "/":
			_, _ = w.Write(payload) // the client checks
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, sums
}

// needMPTCP fails or skips where the kernel has no MPTCP.
func needMPTCP(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/mptcp/enabled")
	if err == nil && strings.TrimSpace(string(b)) == "1" {
		return
	}
	testenv.Lacks(t, fmt.Sprintf("net.mptcp.enabled is not 1 (%v)", err))
}

func TestInspectTellsMPTCPFromFallback(t *testing.T) {
	needMPTCP(t)
	for _, tc := range []struct {
		name                  string
		serverMPTCP, plainSrc bool
		want                  bool
	}{
		{"both speak MPTCP", true, false, true},
		{"server does not", false, false, false},
		{"client does not", true, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			payload := make([]byte, 300_000)
			url, _ := serve(t, tc.serverMPTCP, payload)
			c := Client{Plain: tc.plainSrc}
			tr := c.Get(t.Context(), url+"/")
			defer tr.Close()
			if _, err := tr.Wait(); err != nil {
				t.Fatal(err)
			}
			info, err := tr.Inspect()
			if err != nil {
				t.Fatal(err)
			}
			if info.MPTCP != tc.want || (info.Token != 0) != tc.want {
				t.Errorf("MPTCP %v, token %#x; want MPTCP %v", info.MPTCP, info.Token, tc.want)
			}
			if len(info.Subflows) != 1 {
				t.Fatalf("%d subflows, want 1", len(info.Subflows))
			}
			s := &info.Subflows[0]
			if !s.Established() || s.Local.Port() != tr.LocalPort() || s.TCP.Bytes_received < uint64(len(payload)) {
				t.Errorf("subflow %v -> %v state %d received %d", s.Local, s.Remote, s.TCP.State, s.TCP.Bytes_received)
			}
		})
	}
}

func TestTransferSums(t *testing.T) {
	payload := []byte(strings.Repeat("braid ", 100_000))
	sum := sha256.Sum256(payload)
	want := hex.EncodeToString(sum[:])
	url, put := serve(t, false, payload)
	var c Client

	get := c.Get(t.Context(), url+"/")
	defer get.Close()
	if got, err := get.Wait(); err != nil || got != want || get.Bytes() != int64(len(payload)) {
		t.Errorf("download: sum %s, %d bytes, %v; want %s, %d", got, get.Bytes(), err, want, len(payload))
	}
	up := c.Put(t.Context(), url+"/x", io.NopCloser(bytes.NewReader(payload)), int64(len(payload)))
	defer up.Close()
	if got, err := up.Wait(); err != nil || got != want || <-put != want {
		t.Errorf("upload: sum %s, %v; want %s", got, err, want)
	}
	if start, end := up.Times(); !end.After(start) {
		t.Errorf("times %v %v", start, end)
	}

	missing := c.Get(t.Context(), url+"/missing")
	defer missing.Close()
	if _, err := missing.Wait(); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a status 404 gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := c.Get(ctx, url+"/")
	defer ended.Close()
	if _, err := ended.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled transfer gave %v", err)
	}
}

func TestDiagSeesTheServersSide(t *testing.T) {
	payload := make([]byte, 200_000)
	url, _ := serve(t, false, payload)
	d, err := OpenDiag(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var c Client
	tr := c.Get(t.Context(), url+"/")
	defer tr.Close()
	if _, err := tr.Wait(); err != nil {
		t.Fatal(err)
	}
	local := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), tr.LocalPort())
	ti, err := d.Connection(local)
	if err != nil || ti.Bytes_acked < uint64(len(payload)) {
		t.Errorf("server's socket: %d bytes acknowledged, %v; want at least %d", ti.Bytes_acked, err, len(payload))
	}
	if _, err := d.Connection(netip.MustParseAddrPort("192.0.2.1:1")); !errors.Is(err, ErrNoSocket) {
		t.Errorf("unknown remote gave %v", err)
	}
	live, err := d.Live()
	if err != nil || !slices.ContainsFunc(live, func(s string) bool { return strings.Contains(s, local.String()) }) {
		t.Errorf("live sockets %q, %v; want %v among them", live, err, local)
	}
}

func TestNamespaceIsWhereSocketsAreMade(t *testing.T) {
	payload := make([]byte, 1000)
	url, _ := serve(t, false, payload)
	refused := errors.New("no such namespace")
	entered := 0
	c := Client{In: func(fn func() error) error {
		entered++
		if entered > 1 {
			return refused
		}
		return fn()
	}}
	first, second := c.Get(t.Context(), url+"/"), (*Transfer)(nil)
	defer first.Close()
	if _, err := first.Wait(); err != nil || entered != 1 {
		t.Errorf("first transfer entered the namespace %d times, %v", entered, err)
	}
	second = c.Get(t.Context(), url+"/")
	defer second.Close()
	if _, err := second.Wait(); !errors.Is(err, refused) {
		t.Errorf("a namespace that cannot be entered gave %v", err)
	}
}

func TestPingAndUDPOnLoopback(t *testing.T) {
	e, err := ListenUDPEcho(nil, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var c Client
	if n, err := c.EchoUDP(e.conn.LocalAddr().String(), 20, 1200, time.Second); n != 20 || err != nil {
		t.Errorf("UDP echo: %d of 20, %v", n, err)
	}
	n, err := c.Ping(netip.MustParseAddr("127.0.0.1"), 5, 56, time.Second)
	if errors.Is(err, os.ErrPermission) {
		testenv.Lacks(t, "ping needs CAP_NET_RAW")
	}
	if n != 5 || err != nil {
		t.Errorf("ping: %d of 5, %v", n, err)
	}
}

func TestEchoRequestChecksum(t *testing.T) {
	for size := range 9 {
		b := echoRequest(0x1234, 7, size)
		sum := binary.BigEndian.Uint16(b[2:])
		b[2], b[3] = 0, 0
		if got := onesComplementSum(b); got != sum {
			t.Errorf("size %d: checksum %#x, want %#x", size, sum, got)
		}
	}
	// RFC 1071 section 3: the sum of these is ddf2.
	if got := onesComplementSum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) {
		t.Errorf("checksum %#x, want %#x", got, ^uint16(0xddf2))
	}
}
