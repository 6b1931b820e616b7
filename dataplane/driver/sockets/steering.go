package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

// slotBits is the width of the slot in a TEID's high bits.
const slotBits = 12

// maxSteered is the most TEIDs, and the most UE prefixes of each IP version, that
// can be steered. Entries take memory only while they are there.
const maxSteered = 1 << 22

// steering holds the maps and the two programs that pick a worker:
//
//	N3: TEID at byte 4 of the UDP payload -> teids, else its slot -> slots, else 0
//	N6: destination address -> IPv4: ue4, else net4; IPv6: ue6; else 0
//
// Both are socket filters whose return value is the number of the socket in its
// SO_REUSEPORT group, or of the TUN queue.
type steering struct {
	teids *ebpf.Map // TEID, network byte order -> worker
	slots *ebpf.Map // slot -> worker
	ue4   *ebpf.Map // IPv4 address -> worker
	net4  *ebpf.Map // IPv4 prefix shorter than /32 -> worker
	ue6   *ebpf.Map // IPv6 prefix -> worker
	n3    *ebpf.Program
	n6    *ebpf.Program
}

func newSteering() (s *steering, err error) {
	s = &steering{}
	defer func() {
		if err != nil {
			err = errors.Join(explain(err), s.close())
		}
	}()
	if err := rlimit.RemoveMemlock(); err != nil {
		return s, fmt.Errorf("lift the limit of locked memory: %w", err)
	}
	const lazily = 1 // BPF_F_NO_PREALLOC
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&s.teids, ebpf.MapSpec{Name: "braid_teid", Type: ebpf.Hash, KeySize: 4, MaxEntries: maxSteered, Flags: lazily}},
		{&s.slots, ebpf.MapSpec{Name: "braid_slot", Type: ebpf.Array, KeySize: 4, MaxEntries: 1 << slotBits}},
		{&s.ue4, ebpf.MapSpec{Name: "braid_ue4", Type: ebpf.Hash, KeySize: 4, MaxEntries: maxSteered, Flags: lazily}},
		{&s.net4, ebpf.MapSpec{Name: "braid_net4", Type: ebpf.LPMTrie, KeySize: 4 + 4, MaxEntries: maxSteered, Flags: lazily}},
		{&s.ue6, ebpf.MapSpec{Name: "braid_ue6", Type: ebpf.LPMTrie, KeySize: 4 + 16, MaxEntries: maxSteered, Flags: lazily}},
	} {
		m.spec.ValueSize = 4
		if *m.to, err = ebpf.NewMap(&m.spec); err != nil {
			return s, fmt.Errorf("BPF map %s: %w", m.spec.Name, err)
		}
	}
	if s.n3, err = load("braid_n3", s.n3Program()); err != nil {
		return s, err
	}
	s.n6, err = load("braid_n6", s.n6Program())
	return s, err
}

func load(name string, code asm.Instructions) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.SocketFilter, Instructions: code, License: "Apache-2.0",
	})
	if err != nil {
		return nil, fmt.Errorf("BPF program %s: %w", name, err)
	}
	return p, nil
}

// explain adds what is missing where the kernel says no more than EPERM.
func explain(err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: steering packets to workers needs CAP_BPF (before Linux 5.8: CAP_SYS_ADMIN) and CAP_NET_ADMIN in the initial user namespace", err)
}

// Places on the programs' stacks, below the frame pointer.
const (
	stackKey  = -8  // 4-byte keys
	stackSlot = -4  // the slot
	stackLPM  = -24 // prefix length and address
)

// n3Program picks the socket for a GTP-U message; the packet starts at the UDP
// payload. Messages too short for a TEID go to worker 0, which counts them.
func (s *steering) n3Program() asm.Instructions {
	code := append(saveContext(), loadBytes(4, stackKey, 4)...)
	code = append(code, lookup(s.teids, stackKey, "slot")...)
	code = append(code,
		asm.LoadMem(asm.R1, asm.RFP, stackKey, asm.Word).WithSymbol("slot"),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.RSh.Imm(asm.R1, 32-slotBits),
		asm.StoreMem(asm.RFP, stackSlot, asm.R1, asm.Word),
	)
	code = append(code, lookup(s.slots, stackSlot, "zero")...)
	return append(code, zero()...)
}

// n6Program picks the TUN queue for an IP packet.
func (s *steering) n6Program() asm.Instructions {
	code := append(saveContext(), loadBytes(0, stackKey, 1)...)
	code = append(code,
		asm.LoadMem(asm.R1, asm.RFP, stackKey, asm.Byte),
		asm.RSh.Imm(asm.R1, 4),
		asm.JEq.Imm(asm.R1, 6, "ipv6"),
		asm.JNE.Imm(asm.R1, 4, "zero"),
	)
	code = append(code, loadBytes(16, stackKey, 4)...)
	code = append(code, lookup(s.ue4, stackKey, "net4")...)
	code = append(code,
		asm.LoadMem(asm.R1, asm.RFP, stackKey, asm.Word).WithSymbol("net4"),
		asm.StoreMem(asm.RFP, stackLPM+4, asm.R1, asm.Word),
		asm.StoreImm(asm.RFP, stackLPM, 32, asm.Word),
	)
	code = append(code, lookup(s.net4, stackLPM, "zero")...)
	code = append(code, asm.StoreImm(asm.RFP, stackLPM, 128, asm.Word).WithSymbol("ipv6"))
	code = append(code, loadBytes(24, stackLPM+4, 16)...)
	code = append(code, lookup(s.ue6, stackLPM, "zero")...)
	return append(code, zero()...)
}

// saveContext keeps the program's argument for loadBytes.
func saveContext() asm.Instructions { return asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)} }

// loadBytes copies n bytes of the packet at off to the stack at to; a packet that
// is too short goes to zero.
func loadBytes(off, to, n int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, off),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, to),
		asm.Mov.Imm(asm.R4, n),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "zero"),
	}
}

// lookup returns the worker that m has for the key on the stack; without one the
// program goes on at miss.
func lookup(m *ebpf.Map, key int32, miss string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, miss),
		asm.LoadMem(asm.R0, asm.R0, 0, asm.Word),
		asm.Return(),
	}
}

// zero returns worker 0.
func zero() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol("zero"), asm.Return()}
}

func teidKey(teid uint32) []byte { return binary.BigEndian.AppendUint32(nil, teid) }

// ueKey is the map and the key of a UE prefix.
func (s *steering) ueKey(p netip.Prefix) (*ebpf.Map, []byte) {
	a := p.Addr().AsSlice()
	if p.IsSingleIP() && p.Addr().Is4() {
		return s.ue4, a
	}
	m := s.ue6
	if p.Addr().Is4() {
		m = s.net4
	}
	return m, append(binary.NativeEndian.AppendUint32(nil, uint32(p.Bits())), a...)
}

func (s *steering) close() error {
	var errs []error
	for _, m := range []*ebpf.Map{s.teids, s.slots, s.ue4, s.net4, s.ue6} {
		errs = append(errs, m.Close())
	}
	return errors.Join(append(errs, s.n3.Close(), s.n6.Close())...)
}
