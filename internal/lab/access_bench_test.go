package lab_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// BenchmarkAccess measures what an access process spends on a packet of 1,400
// bytes: cpu-ns/pkt is its CPU time, user and system, over the packets it carried;
// 10,000 of it would be one core at 100,000 packets/s. Mpps is what came through
// while one sender did nothing but send.
func BenchmarkAccess(b *testing.B) {
	l := up(b, "labtest-bench", lab.Options{UPFCommand: []string{"sink"}})
	delayed := lab.Impairment{Delay: 10 * time.Millisecond, Loss: 0.0001, Rate: 10e9}
	for name, im := range map[string]lab.Impairment{"plain": {}, "delayed": delayed} {
		b.Run("up/"+name, func(b *testing.B) {
			conn := dialUDP(b, l, lab.UE, lab.UEAddr[steer.Access3GPP], netip.AddrPortFrom(lab.DNAddr, 9))
			defer conn.Close()
			benchAccess(b, l, im, lab.DirectionUp, conn, make([]byte, 1372))
		})
		b.Run("down/"+name, func(b *testing.B) {
			conn := dialUDP(b, l, lab.UPF, lab.UPFN3Addr, netip.MustParseAddrPort("10.100.1.2:2152"))
			defer conn.Close()
			benchAccess(b, l, im, lab.DirectionDown, conn, downlinkDatagram(1400))
		})
	}
}

// benchAccess sends until b.N datagrams came through; a full queue drops some.
func benchAccess(b *testing.B, l *lab.Lab, im lab.Impairment, d lab.Direction, conn *net.UDPConn, datagram []byte) {
	if err := l.Link(steer.Access3GPP, im); err != nil {
		b.Fatal(err)
	}
	carried := func() uint64 {
		s := stats(b, l, steer.Access3GPP)
		return s.Of(d).Packets
	}
	from, cpu, begun := carried(), cpuTime(b, l), time.Now()
	b.ResetTimer()
	done := uint64(0)
	for done < uint64(b.N) {
		for range min(b.N, 1000) {
			if _, err := conn.Write(datagram); err != nil {
				b.Fatal(err)
			}
		}
		done = carried() - from
	}
	b.StopTimer()
	b.ReportMetric(float64(done)/time.Since(begun).Seconds()/1e6, "Mpps")
	b.ReportMetric(float64(cpuTime(b, l)-cpu)/float64(done), "cpu-ns/pkt")
}

// downlinkDatagram is a G-PDU with an IP packet of n bytes for the UE, of a protocol
// that nobody there listens to.
func downlinkDatagram(n int) []byte {
	ip := make([]byte, n)
	ip[0], ip[2], ip[3], ip[8], ip[9] = 0x45, byte(n>>8), byte(n), 64, 253 // for experiments, RFC 3692
	copy(ip[12:], lab.DNAddr.AsSlice())
	copy(ip[16:], lab.UEAddr[steer.Access3GPP].AsSlice())
	sum := checksum(ip[:20])
	ip[10], ip[11] = byte(sum>>8), byte(sum)
	return append([]byte{0x30, 255, byte(n >> 8), byte(n), 0, 0, 1, 1}, ip...)
}

func dialUDP(b testing.TB, l *lab.Lab, role string, from netip.Addr, to netip.AddrPort) (conn *net.UDPConn) {
	b.Helper()
	if err := l.InNamespace(role, func() (err error) {
		conn, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return conn
}

// cpuTime is what the 3GPP access's process has used, in steps of 10 ms.
func cpuTime(b *testing.B, l *lab.Lab) time.Duration {
	b.Helper()
	pid, err := l.PID("access-3gpp")
	if err != nil {
		b.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
