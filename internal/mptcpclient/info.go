package mptcpclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket options of linux/mptcp.h and linux/tcp.h that package unix lacks.
const (
	solMPTCP           = 284
	optMPTCPInfo       = 1
	optMPTCPTCPInfo    = 2
	optMPTCPSubflows   = 3
	optTCPIsMPTCP      = 43
	infoFlagFallback   = 1 << 0
	infoFlagsOffset    = 8   // of mptcpi_flags in struct mptcp_info
	infoTokenOffset    = 12  // of mptcpi_token
	subflowDataLen     = 16  // struct mptcp_subflow_data
	subflowAddrsLen    = 256 // struct mptcp_subflow_addrs: two sockaddr_storage
	maxSubflows        = 16
	sockaddrStorageLen = 128
)

// Info is what the UE's kernel says of a connection.
type Info struct {
	MPTCP    bool   // an MPTCP connection that has not fallen back to TCP
	Token    uint32 // of the connection, as `ss -M` shows it; 0 unless MPTCP
	Subflows []Subflow
}

// Subflow is one TCP connection of an MPTCP connection; plain TCP has one.
type Subflow struct {
	Local, Remote netip.AddrPort
	TCP           unix.TCPInfo
}

// Established says that the subflow carries data: TCP state ESTABLISHED.
func (s *Subflow) Established() bool { return s.TCP.State == unix.BPF_TCP_ESTABLISHED }

// Inspect asks the kernel about a TCP or MPTCP connection. Subflows that the
// kernel has closed are not in the answer, nor what they carried.
func Inspect(c *net.TCPConn) (Info, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Info{}, fmt.Errorf("inspect connection: %w", err)
	}
	var info Info
	var errInspect error
	if err := raw.Control(func(fd uintptr) { info, errInspect = inspect(int(fd), c) }); err != nil {
		return Info{}, fmt.Errorf("inspect connection: %w", err)
	}
	return info, errInspect
}

func inspect(fd int, c *net.TCPConn) (Info, error) {
	var b [256]byte
	n, err := getsockopt(fd, solMPTCP, optMPTCPInfo, b[:])
	// EOPNOTSUPP: fallen back; ENOPROTOOPT: was never an MPTCP socket.
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT) {
		return inspectTCP(fd, c)
	}
	if err != nil {
		return Info{}, fmt.Errorf("MPTCP_INFO: %w", err)
	}
	if n < infoTokenOffset+4 {
		return Info{}, fmt.Errorf("MPTCP_INFO: %d bytes", n)
	}
	is, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, optTCPIsMPTCP)
	if err != nil {
		return Info{}, fmt.Errorf("TCP_IS_MPTCP: %w", err)
	}
	if is == 0 || binary.NativeEndian.Uint32(b[infoFlagsOffset:])&infoFlagFallback != 0 {
		return inspectTCP(fd, c)
	}
	info := Info{MPTCP: true, Token: binary.NativeEndian.Uint32(b[infoTokenOffset:])}
	for range 4 { // a subflow may come or go between the two questions
		var same bool
		if info.Subflows, same, err = subflows(fd); err != nil || same {
			return info, err
		}
	}
	return info, errors.New("MPTCP_SUBFLOW_ADDRS and MPTCP_TCPINFO disagree on the number of subflows")
}

func inspectTCP(fd int, c *net.TCPConn) (Info, error) {
	ti, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Info{}, fmt.Errorf("TCP_INFO: %w", err)
	}
	return Info{Subflows: []Subflow{{
		Local:  c.LocalAddr().(*net.TCPAddr).AddrPort(),
		Remote: c.RemoteAddr().(*net.TCPAddr).AddrPort(),
		TCP:    *ti,
	}}}, nil
}

// subflows asks for addresses and TCP information; same is false when the two
// answers are of different subflows.
func subflows(fd int) (out []Subflow, same bool, err error) {
	addrs, err := subflowArray(fd, optMPTCPSubflows, subflowAddrsLen)
	if err != nil {
		return nil, false, fmt.Errorf("MPTCP_SUBFLOW_ADDRS: %w", err)
	}
	infos, err := subflowArray(fd, optMPTCPTCPInfo, int(unsafe.Sizeof(unix.TCPInfo{})))
	if err != nil {
		return nil, false, fmt.Errorf("MPTCP_TCPINFO: %w", err)
	}
	if len(addrs) != len(infos) {
		return nil, false, nil
	}
	for i := range addrs {
		var s Subflow
		s.Local = sockaddr(addrs[i][:sockaddrStorageLen])
		s.Remote = sockaddr(addrs[i][sockaddrStorageLen:])
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&s.TCP)), unsafe.Sizeof(s.TCP)), infos[i])
		out = append(out, s)
	}
	return out, true, nil
}

// subflowArray reads an option that answers with a struct mptcp_subflow_data and
// one element of at most size bytes a subflow.
func subflowArray(fd, opt, size int) ([][]byte, error) {
	b := make([]byte, subflowDataLen+maxSubflows*size)
	binary.NativeEndian.PutUint32(b[0:], subflowDataLen)
	binary.NativeEndian.PutUint32(b[12:], uint32(size))
	if _, err := getsockopt(fd, solMPTCP, opt, b); err != nil {
		return nil, err
	}
	n := min(int(binary.NativeEndian.Uint32(b[4:])), maxSubflows)
	step := min(int(binary.NativeEndian.Uint32(b[8:])), size) // the kernel packs its own size
	out := make([][]byte, n)
	for i := range out {
		out[i] = b[subflowDataLen+i*step:][:step]
	}
	return out, nil
}

// sockaddr reads a struct sockaddr_in or sockaddr_in6.
func sockaddr(b []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

func getsockopt(fd, level, opt int, b []byte) (int, error) {
	n := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
