package lab_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"

	"github.com/wmnsk/go-gtp/gtpv1/message"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// standInTEID is the uplink TEID of the 3GPP access at the stand-in; the next one
// is the non-3GPP access's.
const standInTEID = 0x5001

// standInPMF is the port of the data network from which what goes to the UE takes the
// non-3GPP access, whatever its address.
const standInPMF = 6002

// runStandIn takes the UPF's place: it carries packets between GTP-U and the N6
// TUN device by UE address, and looks at nothing else in them but [standInPMF].
func runStandIn() error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(lab.UPFN3Addr, 2152)))
	if err != nil {
		return err
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		return err
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	ifr, err := unix.NewIfreq("upfgtp")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(int(tun.Fd()), unix.TUNSETIFF, ifr); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"ip", "link", "set", "upfgtp", "up", "mtu", "1400", "txqueuelen", "8192"},
		{"ip", "route", "add", lab.UEPool.String(), "dev", "upfgtp"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", command, err, out)
		}
	}
	// Fails where the lab has no IPv6.
	_ = exec.Command("ip", "route", "add", lab.UEPool6.String(), "dev", "upfgtp").Run()
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	fmt.Println("UPF started")
	failed := make(chan error)
	go func() { failed <- standInUplink(conn, tun) }()
	go func() { failed <- standInDownlink(conn, tun) }()
	return <-failed
}

// runSink takes the UPF's place where only what the access sends counts: a socket
// that is never read.
func runSink() error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(lab.UPFN3Addr, 2152)))
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("UPF started")
	select {} // until the lab goes down
}

func standInUplink(conn *net.UDPConn, tun *os.File) error {
	buf := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		m, err := message.ParseTPDU(buf[:n])
		if err != nil || m.TEID() != standInTEID && m.TEID() != standInTEID+1 {
			return fmt.Errorf("datagram % x: %w", buf[:n], errors.Join(err, errors.New("not for this tunnel")))
		}
		if _, err := tun.Write(m.Payload); err != nil {
			return err
		}
	}
}

func standInDownlink(conn *net.UDPConn, tun *os.File) error {
	type tunnel struct {
		teid uint32
		peer netip.AddrPort
	}
	first := tunnel{0x101, netip.MustParseAddrPort("10.100.1.2:2152")}
	second := tunnel{0x201, netip.MustParseAddrPort("10.100.2.2:2152")}
	tunnels := map[netip.Addr]tunnel{}
	for k := range 2 {
		for _, v6 := range []bool{false, true} {
			tunnels[lab.UEAddress(steer.Access3GPP, k, v6)] = first
			tunnels[lab.UEAddress(steer.AccessNon3GPP, k, v6)] = second
		}
	}
	buf := make([]byte, 2048)
	for {
		n, err := tun.Read(buf[8:])
		if err != nil {
			return err
		}
		dst := netip.AddrFrom4([4]byte(buf[8+16:]))
		if buf[8]>>4 == 6 {
			dst = netip.AddrFrom16([16]byte(buf[8+24:]))
		}
		t, ok := tunnels[dst]
		if !ok {
			continue // multicast of the kernel's own
		}
		if udp := buf[8+20:]; buf[8] == 0x45 && buf[8+9] == 17 && binary.BigEndian.Uint16(udp) == standInPMF {
			t = second
		}
		buf[0], buf[1] = 0x30, 255
		binary.BigEndian.PutUint16(buf[2:], uint16(n))
		binary.BigEndian.PutUint32(buf[4:], t.teid)
		if _, err := conn.WriteToUDPAddrPort(buf[:8+n], t.peer); err != nil {
			return err
		}
	}
}
