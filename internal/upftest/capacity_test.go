package upftest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/internal/ran"
)

// What the UPF must reach on one core, with packets of other sessions beside.
const (
	manySessions    = 100_000
	mostPerSession  = 7 << 10 // octets of resident memory, what has yet to be collected among it
	leastPerSecond  = 5000    // establishments
	mostP99         = 10 * time.Millisecond
	besideSessions  = 16
	besidePerSecond = 1000 // packets each way, of 500 octets
	mostRatio       = 1.3  // of what a packet costs with all sessions and with a hundred
)

// One core holds a hundred thousand sessions of free5GC's kind: how fast they come and go,
// how much memory they take, and that no packet of other sessions is lost meanwhile.
func TestCapacity(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Fatal("needs two cores: one for the UPF, one for who loads it")
	}
	w := lay(t)
	others := pinned(t)
	w.upf = newUPF(w.upf.host, n4Addr, n3Addr, configOf(n4Addr, n3Addr, "{dnn: "+dnn+", cidr: 10.0.0.0/8}", "workers: 1"))
	w.upf.begin("taskset", "-c", "0") // its Go runtime takes it for a machine of one core
	defer others()
	w.smf.associate(n4Addr)
	w.dn.route("10.70.0.0/16", "10.100.6.1", "n6")
	beside := w.beside()
	load := newLoader(w)

	empty, before := w.upf.resident(), w.upf.counters()
	est := load.run(message.MsgTypeSessionEstablishmentRequest, manySessions)
	full := w.upf.resident()
	per := (full - empty) / manySessions
	t.Logf("%d sessions established: %v", manySessions, est)
	t.Logf("resident memory: %d KiB before, %d KiB after, %d octets a session", empty>>10, full>>10, per)
	if n := w.upf.counters()["sessions"] - before["sessions"]; n != manySessions {
		t.Errorf("the UPF has %d more sessions, want %d", n, manySessions)
	}
	if per > mostPerSession {
		t.Errorf("a session takes %d octets, want at most %d", per, mostPerSession)
	}
	if rate := est.best(); rate < leastPerSecond {
		t.Errorf("%.0f establishments a second, want at least %d", rate, leastPerSecond)
	}
	if p99 := est.p99(); p99 > mostP99 {
		t.Errorf("99%% are answered within %v, want within %v", p99, mostP99)
	}

	load.compare(manySessions)

	del := load.run(message.MsgTypeSessionDeletionRequest, manySessions)
	t.Logf("%d sessions deleted: %v", manySessions, del)
	w.upf.counted(before, map[string]uint64{"sessions": 0})
	sent, lost := beside()
	t.Logf("%d packets of other sessions beside, %d lost", sent, lost)
	if lost != 0 {
		t.Errorf("%d of %d packets of other sessions were lost", lost, sent)
	}

	// What was deleted has left nothing: as many sessions again fit where the first were.
	const again = manySessions / 10
	load.run(message.MsgTypeSessionEstablishmentRequest, again)
	load.run(message.MsgTypeSessionDeletionRequest, again)
	t.Logf("resident memory: %d KiB after %d more came and went", w.upf.resident()>>10, again)
	if now := w.upf.resident(); now > full+full/20 {
		t.Errorf("resident memory is %d KiB after %d more sessions came and went, was %d KiB with %d", now>>10, again, full>>10, manySessions)
	}
	w.upf.counted(before, map[string]uint64{"sessions": 0, "drop_unknown_teid": 0, "drop_unknown_ue": 0})
}

// pinned keeps the threads of the tests off core 0, which is the UPF's, until the
// function that it returns is called.
func pinned(t *testing.T) (release func()) {
	var all, others unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	others = all
	others.Clear(0)
	set := func(s *unix.CPUSet) {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			var tid int
			if _, err := fmt.Sscan(task.Name(), &tid); err == nil {
				_ = unix.SchedSetaffinity(tid, s) // the thread may have ended
			}
		}
	}
	set(&others)
	return func() { set(&all) }
}

// resident is the resident memory of the UPF in octets.
func (u *upf) resident() int {
	u.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.cmd.Process.Pid))
	u.check(err)
	_, tail, _ := strings.Cut(string(b), "VmRSS:")
	var kib int
	_, err = fmt.Sscan(tail, &kib)
	u.check(err)
	return kib << 10
}

// cpu is the time that the UPF has had a core, in user and kernel mode.
func (u *upf) cpu() time.Duration {
	u.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", u.cmd.Process.Pid))
	u.check(err)
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const utime, stime, hertz = 14 - 3, 15 - 3, 100 // proc(5)
	var user, kernel int64
	_, err = fmt.Sscan(fields[utime]+" "+fields[stime], &user, &kernel)
	u.check(err)
	return time.Duration(user+kernel) * time.Second / hertz
}

// beside has packets flow both ways through sessions that others must not disturb. What
// it returns ends that, and says how many were sent and how many did not arrive.
func (w *world) beside() (end func() (sent, lost int)) {
	w.Helper()
	up := w.dn.newSink(netip.AddrPortFrom(dnAddr, 0))
	down := &sink{headers: 28}
	packet := make([]byte, ran.UplinkHeader+500)
	var tunnels []tunnel
	for i := range uint32(besideSessions) {
		a := netip.AddrFrom4([4]byte{10, 70, 0, byte(1 + i)})
		sess := w.smf.establish(n4Addr, free5GCSession(n3Addr, 0x100+i, a).creates()...)
		sess.modify(toGNB(farDown, gnbAddr[0], 0x200+i).IE(ie.UpdateFAR))
		w.gnb[0].bearer(0x200+i, func(_ *ran.Message, p []byte) {
			n := binary.BigEndian.Uint32(p[28:])
			down.mu.Lock()
			down.arrivals = append(down.arrivals, arrival{number: n})
			down.mu.Unlock()
		})
		tunnels = append(tunnels, tunnel{gnb: w.gnb[0], teid: 0x100 + i, peer: n3Addr, qfi: defaultQFI})
	}
	var streams []*stream
	for i := range byte(besideSessions) {
		streams = append(streams, w.dn.open(netip.AddrPortFrom(dnAddr, 0), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 70, 0, 1 + i}), 9), 500))
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	sent := 0
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for begun := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for sent < int(time.Since(begun).Seconds()*besidePerSecond) {
				i := sent % besideSessions
				putUDP(packet[ran.UplinkHeader:], [4]byte{10, 70, 0, byte(1 + i)}, up.local(), uint32(sent))
				tunnels[i].send(packet)
				streams[i].sent = sent
				streams[i].send(1)
				sent++
			}
		}
	}()
	return func() (int, int) {
		close(stop)
		<-ended
		var lost int
		for _, s := range []*sink{up, down} {
			for end := time.Now().Add(eventTime); s.count() < sent && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond)
			}
			n, twice, _ := s.faults(sent)
			if twice > 0 {
				w.Errorf("%d packets came twice", twice)
			}
			lost += n
		}
		return 2 * sent, lost
	}
}

// putUDP writes an IPv4 packet as long as b with a number in a UDP datagram without
// checksum.
func putUDP(b []byte, src [4]byte, to netip.AddrPort, number uint32) {
	clear(b)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	dst := to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], checksum(b[:20]))
	binary.BigEndian.PutUint16(b[20:], 4000)
	binary.BigEndian.PutUint16(b[22:], to.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(len(b)-20))
	binary.BigEndian.PutUint32(b[28:], number)
}
