package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
	"github.com/braid-upf/braid/smf"
)

const (
	tgpp    = steer.Access3GPP
	nonTGPP = steer.AccessNon3GPP
)

// Time limits. They are for a machine that is also doing something else; nothing
// waits for one to pass unless it fails.
const (
	transferTime = 60 * time.Second
	eventTime    = 10 * time.Second
)

// fixture is the lab as one test sees it.
type fixture struct {
	*testing.T
	lab     *lab.Lab
	ctx     context.Context
	client  mptcpclient.Client
	server  netip.Addr // of the data network
	allow   []string   // counters of UE or translator that may move
	killed  bool       // an access was made a black hole
	allowDN []string   // counters of the data network that may move, too
	pmUsed  bool       // the UE's path manager is not in its first state
	noSMF   bool       // the lab has none

	// At the beginning:
	ue, dn, upf map[string]uint64 // counters
	begun       [steer.NumAccesses]lab.Stats
	stuck       []string // connections that another test has left
}

// begin gives a test the lab in its first state: accesses that lose nothing, the
// default policy. At the test's end all connections must be gone and the counters
// that tell of a wrong translation must not have moved, but for those in allow.
func begin(t *testing.T, allow ...string) *fixture {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
	return beginIn(t, theLab, false, allow)
}

// beginIn is begin in a lab, which may have no SMF: then there is no policy to set.
func beginIn(t *testing.T, l *lab.Lab, noSMF bool, allow []string) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), transferTime)
	f := &fixture{T: t, lab: l, noSMF: noSMF, ctx: ctx, server: lab.DNAddr, allow: allow}
	f.client = mptcpclient.Client{In: f.in(lab.UE)}
	f.capture()
	f.link(tgpp, lab.Impairment{Rate: 200e6, Delay: 5 * time.Millisecond})
	f.link(nonTGPP, lab.Impairment{Rate: 150e6, Delay: 8 * time.Millisecond})
	f.setPolicy(nil)
	f.stuck = f.live()
	f.ue, f.dn, f.upf = f.mib(lab.UE), f.mib(lab.DN), f.translator()
	for a := range steer.Access(steer.NumAccesses) {
		f.begun[a] = f.stats(a)
	}
	t.Cleanup(func() { // after the connections of the test were closed, by cleanups that ran before
		cancel()
		if !noSMF { // else the sessions, which the test made, are gone
			f.settle()
		}
		if t.Failed() {
			f.dump()
		}
	})
	return f
}

func (f *fixture) in(role string) mptcpclient.Namespace {
	return func(fn func() error) error { return f.lab.InNamespace(role, fn) }
}

func (f *fixture) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) link(a steer.Access, im lab.Impairment) {
	f.Helper()
	f.check(f.lab.Link(a, im))
}

// kill makes a black hole of an access.
func (f *fixture) kill(a steer.Access) {
	f.Helper()
	f.killed = true
	f.link(a, lab.Impairment{Down: true})
}

func (f *fixture) stats(a steer.Access) lab.Stats {
	f.Helper()
	s, err := f.lab.AccessStats(a)
	f.check(err)
	return s
}

// carried is the IP bytes that each access has carried since the test began.
func (f *fixture) carried(d lab.Direction) (n [steer.NumAccesses]uint64) {
	f.Helper()
	for a := range n {
		now := f.stats(steer.Access(a))
		n[a] = now.Of(d).Bytes - f.begun[a].Of(d).Bytes
	}
	return n
}

func (f *fixture) mib(role string) map[string]uint64 {
	f.Helper()
	m, err := f.lab.MIB(role)
	f.check(err)
	return m
}

// rose is how much a counter of the UE has risen since the test began.
func (f *fixture) rose(counter string) uint64 {
	f.Helper()
	now, ok := f.mib(lab.UE)[counter]
	if !ok {
		f.Fatalf("this kernel has no counter %s", counter)
	}
	return now - f.ue[counter]
}

// translator is the UPF's counters.
func (f *fixture) translator() map[string]uint64 {
	f.Helper()
	m, err := f.lab.UPFCounters(f.ctx)
	f.check(err)
	return m
}

// counted fails the test unless counters of the UE have risen by so much since it
// began. They may do so later than what they count.
func (f *fixture) counted(want map[string]uint64) {
	f.Helper()
	for name, n := range want {
		f.await(fmt.Sprintf("%s %d", name, n), eventTime, func() bool { return f.rose("MPTcpExt"+name) >= n })
	}
	for name, n := range want {
		if got := f.rose("MPTcpExt" + name); got != n {
			f.Errorf("%s rose by %d, want %d", name, got, n)
		}
	}
}

// pathManager runs `ip mptcp` in the UE; the end of the test undoes it.
func (f *fixture) pathManager(args ...string) {
	f.Helper()
	f.pmUsed = true
	f.check(f.lab.PathManager(args...))
}

// endpoints gives the UE's path manager these endpoints alone; each is the words of
// `ip mptcp endpoint add`.
func (f *fixture) endpoints(list ...string) {
	f.Helper()
	f.pathManager("endpoint", "flush")
	for _, e := range list {
		f.endpoint(e)
	}
}

func (f *fixture) endpoint(e string) {
	f.Helper()
	f.pathManager(append([]string{"endpoint", "add"}, strings.Fields(e)...)...)
}

// v6 has the test use IPv6. Of several addresses Linux would not take the first.
func (f *fixture) v6() {
	f.server = lab.DNAddr6
	f.client.Local = lab.UEAddr6[tgpp]
}

// setPolicy changes the default policy by edit and has the SMF carry it out; nil
// leaves the default.
func (f *fixture) setPolicy(edit func(*smf.Session)) {
	f.Helper()
	if f.noSMF {
		return
	}
	now, err := f.lab.Policy()
	f.check(err)
	p := lab.DefaultPolicy()
	p.Sessions[0].UE = slices.Clone(now.Sessions[0].UE) // with or without IPv6
	if edit != nil {
		edit(&p.Sessions[0])
	}
	f.check(f.lab.SetPolicy(p))
}

// prefer makes an access the active one of Active-Standby.
func prefer(a steer.Access) func(*smf.Session) {
	return func(s *smf.Session) {
		s.Accesses[a].Priority, s.Accesses[a.Other()].Priority = steer.Active, steer.Standby
	}
}

// balance is Load-Balancing with the 3GPP access's weight in percent.
func balance(weight uint8) func(*smf.Session) {
	return func(s *smf.Session) {
		s.Steering.Mode = steer.LoadBalancing
		s.Accesses[tgpp].Weight, s.Accesses[nonTGPP].Weight = weight, 100-weight
	}
}

// file is one that nginx serves.
type file struct {
	path, name, sum string
	size            int
}

// file gives a file of random bytes of a size.
func (f *fixture) file(size int) *file {
	f.Helper()
	if got := files[fileKey{f.lab, size}]; got != nil {
		return got
	}
	name := fmt.Sprintf("%d.bin", size)
	g := &file{path: filepath.Join(f.lab.WWW(), name), name: name, size: size}
	out, err := os.Create(g.path)
	f.check(err)
	defer out.Close()
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(out, h), rand.NewChaCha8([32]byte{byte(size)}), int64(size))
	f.check(err)
	f.check(out.Close())
	g.sum = hex.EncodeToString(h.Sum(nil))
	files[fileKey{f.lab, size}] = g
	return g
}

// url is a resource of nginx.
func (f *fixture) url(path string) string {
	return "http://" + net.JoinHostPort(f.server.String(), "80") + "/" + path
}

// get starts a download; its connection is closed at the end of the test.
func (f *fixture) get(g *file) *mptcpclient.Transfer {
	t := f.client.Get(f.ctx, f.url(g.name))
	f.Cleanup(t.Close)
	return t
}

// put starts an upload to a name that [fixture.uploaded] takes.
func (f *fixture) put(g *file, name string) *mptcpclient.Transfer {
	f.Helper()
	in, err := os.Open(g.path)
	f.check(err)
	t := f.client.Put(f.ctx, f.url("upload/"+name), in, int64(g.size))
	f.Cleanup(t.Close)
	return t
}

// downloaded waits for a download and compares what arrived.
func (f *fixture) downloaded(t *mptcpclient.Transfer, g *file) {
	f.Helper()
	sum, err := t.Wait()
	f.check(err)
	if sum != g.sum || t.Bytes() != int64(g.size) {
		f.Fatalf("%s: %d bytes with SHA-256 %s arrived, want %d with %s", g.name, t.Bytes(), sum, g.size, g.sum)
	}
}

// uploaded waits for an upload, compares the file at the server and removes it.
func (f *fixture) uploaded(t *mptcpclient.Transfer, g *file, name string) {
	f.Helper()
	_, err := t.Wait()
	f.check(err)
	path := filepath.Join(f.lab.WWW(), "upload", name)
	b, err := os.ReadFile(path)
	f.check(err)
	f.check(os.Remove(path))
	sum := sha256.Sum256(b)
	if got := hex.EncodeToString(sum[:]); got != g.sum {
		f.Fatalf("%s: %d bytes with SHA-256 %s arrived, want %d with %s", name, len(b), got, g.size, g.sum)
	}
}

// direction is a way to move a file.
type direction struct {
	name  string
	way   lab.Direction
	start func(*fixture, *file) *mptcpclient.Transfer
	end   func(*fixture, *mptcpclient.Transfer, *file)
}

var directions = []direction{
	{"download", lab.DirectionDown, (*fixture).get, (*fixture).downloaded},
	{
		"upload", lab.DirectionUp,
		func(f *fixture, g *file) *mptcpclient.Transfer { return f.put(g, "up.bin") },
		func(f *fixture, t *mptcpclient.Transfer, g *file) { f.uploaded(t, g, "up.bin") },
	},
}

// established is how many subflows of an MPTCP connection carry data; 0 for any
// other connection.
func established(inspect func() (mptcpclient.Info, error)) (n int, info mptcpclient.Info, err error) {
	info, err = inspect()
	for i := range info.Subflows {
		if info.MPTCP && info.Subflows[i].Established() {
			n++
		}
	}
	return n, info, err
}

// inspector is [mptcpclient.Inspect] of a connection.
func inspector(c *net.TCPConn) func() (mptcpclient.Info, error) {
	return func() (mptcpclient.Info, error) { return mptcpclient.Inspect(c) }
}

// mptcp fails the test unless a connection is MPTCP with at least so many subflows
// that are established.
func (f *fixture) mptcp(inspect func() (mptcpclient.Info, error), subflows int) {
	f.Helper()
	n, info, err := established(inspect)
	f.check(err)
	if !info.MPTCP || n < subflows {
		f.Errorf("MPTCP is %v with %d subflows established of %v, want %d", info.MPTCP, n, info.Subflows, subflows)
	}
}

// await waits for a condition.
func (f *fixture) await(what string, within time.Duration, cond func() bool) {
	f.Helper()
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if cond() {
			return
		}
		if time.Now().After(end) {
			f.Fatalf("%s: not within %v", what, within)
		}
	}
}

// awaitBytes waits until a transfer has moved so many bytes.
func (f *fixture) awaitBytes(t *mptcpclient.Transfer, n int64) {
	f.Helper()
	f.await(fmt.Sprintf("%d bytes", n), transferTime, func() bool {
		select {
		case <-t.Done():
			if t.Bytes() < n {
				_, err := t.Wait()
				f.Fatalf("ended at %d bytes: %v", t.Bytes(), err)
			}
		default:
		}
		return t.Bytes() >= n
	})
}

// awaitSubflows waits until a connection has a subflow on each access.
func (f *fixture) awaitSubflows(inspect func() (mptcpclient.Info, error)) {
	f.Helper()
	f.await("a subflow on each access", eventTime, func() bool {
		n, _, err := established(inspect)
		return err == nil && n == steer.NumAccesses
	})
}

// serve accepts connections on a port of the data network until the end of the
// test and gives each to handle, in a goroutine of its own, then closes it.
func (f *fixture) serve(handle func(*net.TCPConn) error) (addr string) {
	f.Helper()
	l, err := mptcpclient.Listen(f.in(lab.DN), netip.AddrPortFrom(f.server, 0).String())
	f.check(err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return // closed
			}
			wg.Go(func() {
				defer c.Close() // handle may have closed it
				err := c.SetDeadline(time.Now().Add(transferTime))
				if err == nil {
					err = handle(c)
				}
				if err != nil {
					f.Errorf("server: %v", err)
				}
			})
		}
	})
	f.Cleanup(func() {
		l.Close() // it only listens
		wg.Wait()
	})
	return l.Addr().String()
}

// dial connects from the UE; the connection is closed at the end of the test.
func (f *fixture) dial(addr string) *net.TCPConn {
	f.Helper()
	c, err := f.client.Dial(f.ctx, addr)
	f.check(err)
	f.Cleanup(func() { c.Close() }) // the test may have closed it
	f.check(c.SetDeadline(time.Now().Add(transferTime)))
	return c
}

// sysctl sets a sysctl of the UE's namespace until the end of the test.
func (f *fixture) sysctl(key, value string) {
	f.Helper()
	f.sysctlIn(lab.UE, key, value)
}

// sysctlIn does so in the namespace of a role.
func (f *fixture) sysctlIn(role, key, value string) {
	f.Helper()
	path := filepath.Join("/proc/sys", key)
	var before []byte
	f.check(f.lab.InNamespace(role, func() (err error) {
		if before, err = os.ReadFile(path); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(value), 0o644)
	}))
	f.Cleanup(func() {
		f.check(f.lab.InNamespace(role, func() error { return os.WriteFile(path, before, 0o644) }))
	})
}

// settle waits until both kernels have no connection left, and checks counters.
func (f *fixture) settle() {
	for a := range steer.Access(steer.NumAccesses) {
		f.link(a, lab.Impairment{}) // what is left may end
	}
	now, err := f.lab.Policy()
	f.check(err)
	f.setPolicy(func(s *smf.Session) { s.ATSSS = now.Sessions[0].ATSSS }) // the session stays, for their sake
	var left []string
	for end := time.Now().Add(eventTime); ; time.Sleep(20 * time.Millisecond) {
		left = slices.DeleteFunc(f.live(), f.wasStuck)
		if len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, s := range left {
		f.Errorf("%v after the test there is still a connection: %s", eventTime, s)
	}
	f.setPolicy(nil)
	if f.pmUsed {
		f.check(f.lab.ResetPathManager())
	}
	ue, dn := f.mib(lab.UE), f.mib(lab.DN)
	allowServer := f.allowDN
	// A UE that does not run its application for a while also leaves DATA_ACK behind
	// what it has selectively acknowledged: on a busy machine that happens once in a
	// while.
	const rare = 10_000 // segments
	reneged := dn[mptcpclient.ServerReneging] - f.dn[mptcpclient.ServerReneging]
	if f.killed || reneged*rare <= dn["TcpExtTCPDelivered"]-f.dn["TcpExtTCPDelivered"] {
		allowServer = append(allowServer, mptcpclient.ServerReneging)
	}
	allowUE := slices.DeleteFunc(slices.Clone(f.allow), func(name string) bool { return slices.Contains(never, name) })
	for _, err := range []error{mptcpclient.CheckUE(f.ue, ue, allowUE...), mptcpclient.CheckServer(f.dn, dn, allowServer...)} {
		if err != nil {
			f.Error(err)
		}
	}
	f.checkTranslator()
}

// never are the UPF's counters that only a UE or a server with bad manners moves, or
// a UE that has given MPTCP up.
var never = []string{
	"fallback_syn", "fallback_v0", "fallback_syn_data", "fallback_keys", "fallback_ack", "fallback_late",
	"fallback_failed", "join_bad_hmac", "add_addr_bad_hmac", "drop_bad_dss_checksum",
	"drop_malformed", "drop_checksum", "drop_no_mapping", "drop_bad_ack", "drop_scattered",
}

func (f *fixture) checkTranslator() {
	now, err := f.lab.UPFCounters(context.Background()) // the one of the test has ended
	if err != nil {
		f.Error(err)
		return
	}
	for _, name := range never {
		if n := now["proxy_"+name] - f.upf["proxy_"+name]; n != 0 && !slices.Contains(f.allow, name) {
			f.Errorf("the UPF's %s rose by %d", name, n)
		}
	}
}

// live lists the connections that either kernel has.
func (f *fixture) live() (all []string) {
	f.Helper()
	for _, role := range []string{lab.UE, lab.DN} {
		d, err := mptcpclient.OpenDiag(f.in(role))
		f.check(err)
		live, err := d.Live()
		d.Close()
		f.check(err)
		for _, s := range live {
			all = append(all, role+": "+s)
		}
	}
	return all
}

// wasStuck says that a connection, as live describes it, was there at the beginning,
// in whatever state.
func (f *fixture) wasStuck(s string) bool {
	s, _, _ = strings.Cut(s, " in state")
	return slices.ContainsFunc(f.stuck, func(old string) bool { return strings.HasPrefix(old, s+" ") })
}

// dump logs what helps to find the cause of a failure.
func (f *fixture) dump() {
	for _, side := range []struct {
		role   string
		before map[string]uint64
	}{{lab.UE, f.ue}, {lab.DN, f.dn}} {
		var moved []string
		for name, v := range f.mib(side.role) {
			if v != side.before[name] && !strings.HasPrefix(name, "Ip") {
				moved = append(moved, fmt.Sprintf("%s+%d", name, v-side.before[name]))
			}
		}
		slices.Sort(moved)
		f.Logf("counters of %s: %s", side.role, strings.Join(moved, " "))
	}
	var b strings.Builder
	if err := f.lab.PrintStatus(&b); err == nil {
		f.Log(b.String())
	}
	if pid, err := f.lab.PID("upf"); err == nil && syscall.Kill(pid, syscall.SIGUSR1) == nil {
		time.Sleep(200 * time.Millisecond) // it logs its counters
	}
	if log, err := os.ReadFile(filepath.Join(f.lab.Dir(), "upf.log")); err == nil {
		const most = 8 << 10
		f.Logf("end of the UPF's log:\n%s", log[max(0, len(log)-most):])
	}
}

// capture writes what the UE and the data network see to files in E2E_PCAP.
func (f *fixture) capture() {
	dir := os.Getenv("E2E_PCAP")
	if dir == "" {
		return
	}
	for _, role := range []string{lab.UE, lab.DN} {
		path := filepath.Join(dir, strings.ReplaceAll(f.Name(), "/", "-")+"-"+role+".pcap")
		cmd := f.lab.Command(context.Background(), role, "tcpdump", "--immediate-mode", "-i", "any", "-s", "160", "-B", "16384", "-U", "-w", path)
		f.check(cmd.Start())
		f.await("tcpdump", eventTime, func() bool { st, err := os.Stat(path); return err == nil && st.Size() > 0 })
		f.Cleanup(func() {
			cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
			cmd.Wait()                          //nolint:errcheck // ended by a signal
		})
	}
}
