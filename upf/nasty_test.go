package upf

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/pfcp"
)

// worstDatagram is how long one datagram may take.
const worstDatagram = 10 * time.Millisecond

// nasty makes, for a server that has an association with cpNode, the datagrams that
// lead to the case and the one that is to be measured.
type nasty func(t testing.TB) (before [][]byte, it []byte)

// raw is an IE.
func raw(typ uint16, payload ...[]byte) []byte {
	body := slices.Concat(payload...)
	b := binary.BigEndian.AppendUint16(nil, typ)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

func rawIE(t testing.TB, i *ie.IE) []byte {
	b, err := i.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// nastyIEs is how many IEs a message may have.
const nastyIEs = 2048

// ieCount is how many IEs there are in b, those inside groups included.
func ieCount(b []byte) (n int) {
	for len(b) >= 4 {
		typ, end := binary.BigEndian.Uint16(b), 4+int(binary.BigEndian.Uint16(b[2:]))
		if n++; (&ie.IE{Type: typ}).IsGrouped() {
			n += ieCount(b[4:end])
		}
		b = b[end:]
	}
	return n
}

// datagram is a message around IEs, as many of more(0), more(1) ... as fit behind them.
func datagram(typ uint8, seid uint64, sequence uint32, ies []byte, more func(i int) []byte) []byte {
	b := []byte{0x20, typ, 0, 0}
	if typ >= message.MsgTypeSessionEstablishmentRequest {
		b[0] |= 1
		b = binary.BigEndian.AppendUint64(b, seid)
	}
	b = append(binary.BigEndian.AppendUint32(b, sequence<<8), ies...)
	left := nastyIEs - ieCount(ies)
	for i := 0; more != nil; i++ {
		one := more(i)
		if left -= ieCount(one); one == nil || left < 0 || len(b)+len(one) > pfcp.MaxDatagram {
			break
		}
		b = append(b, one...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

// nasties are the datagrams that cost most, as far as we can think of them.
func nasties() map[string]nasty {
	head := func(t testing.TB) []byte {
		return slices.Concat(rawIE(t, pfcp.NodeIDIE(cpNode)), rawIE(t, pfcp.FSEID{SEID: 1, IPv4: addr(cpNode)}.IE()))
	}
	// upTo is at most n of more.
	upTo := func(n int, more func(t testing.TB, i int) []byte) func(testing.TB, int) []byte {
		return func(t testing.TB, i int) []byte {
			if i == n {
				return nil
			}
			return more(t, i)
		}
	}
	establish := func(more func(t testing.TB, i int) []byte, extra ...*ie.IE) nasty {
		return func(t testing.TB) ([][]byte, []byte) {
			ies := head(t)
			for _, i := range extra {
				ies = append(ies, rawIE(t, i)...)
			}
			return nil, datagram(message.MsgTypeSessionEstablishmentRequest, 0, 2, ies, func(i int) []byte { return more(t, i) })
		}
	}
	far := maSession().fars[0].IE(ie.CreateFAR)
	up := func(i int, f func(*pfcp.PDR)) *pfcp.PDR {
		p := &pfcp.PDR{
			ID: uint16(i + 1), Precedence: p(uint32(i)), OuterHeaderRemoval: p(uint8(0)), FARID: p(uint32(1)),
			PDI: &pfcp.PDI{SourceInterface: pfcp.InterfaceAccess, FTEID: &pfcp.FTEID{TEID: uint32(i + 1), IPv4: addr("10.100.3.1")}},
		}
		if f != nil {
			f(p)
		}
		return p
	}
	down := func(i int, a netip.Addr) *pfcp.PDR {
		return &pfcp.PDR{ID: uint16(i + 1), Precedence: p(uint32(i)), FARID: p(uint32(1)), PDI: &pfcp.PDI{
			SourceInterface: pfcp.InterfaceCore, UEAddresses: []pfcp.UEIPAddress{{IPv4: a, Destination: true}},
		}}
	}
	fd, err := pfcp.ParseFlowDescription("permit out 6 from 198.51.100.1 1-2,4 to assigned")
	if err != nil {
		panic(err)
	}
	pdrs := func(f func(i int, p *pfcp.PDR)) func(testing.TB, int) []byte {
		return upTo(maxPDRs, func(t testing.TB, i int) []byte {
			return rawIE(t, up(i, func(p *pfcp.PDR) {
				if f != nil {
					f(i, p)
				}
			}).IE(ie.CreatePDR))
		})
	}
	// modification is of a session with as many rules as one datagram can make.
	modification := func(make func(testing.TB, int) []byte, ask func(testing.TB, int) []byte, extra ...*ie.IE) nasty {
		return func(t testing.TB) ([][]byte, []byte) {
			_, first := establish(make, extra...)(t)
			return [][]byte{first}, datagram(message.MsgTypeSessionModificationRequest, 1, 3, nil, func(i int) []byte { return ask(t, i) })
		}
	}
	setup := func(more func(i int) []byte) nasty {
		return func(t testing.TB) ([][]byte, []byte) {
			ies := slices.Concat(rawIE(t, pfcp.NodeIDIE(cpNode)), rawIE(t, pfcp.RecoveryTimeStampIE(cpStarted)))
			return nil, datagram(message.MsgTypeAssociationSetupRequest, 0, 2, ies, more)
		}
	}
	nested := func(depth, room int) []byte {
		b := make([]byte, 0, room)
		for len(b)+4*(depth+1) <= room {
			b = append(b, raw(1000)...)
		}
		for i := range depth {
			b = raw([]uint16{ie.CreatePDR, ie.PDI, ie.CreateFAR, ie.ForwardingParameters}[i%4], b)
		}
		return b
	}
	return map[string]nasty{
		"tiny IEs":           establish(func(testing.TB, int) []byte { return raw(1000) }),
		"tiny groups":        establish(func(testing.TB, int) []byte { return raw(ie.CreatePDR) }),
		"tiny IEs, deep":     establish(func(_ testing.TB, i int) []byte { return map[int][]byte{0: nested(8, 4*nastyIEs-200)}[i] }),
		"tiny IEs, too deep": establish(func(_ testing.TB, i int) []byte { return map[int][]byte{0: nested(9, 4*nastyIEs-200)}[i] }),
		"PDRs":               establish(pdrs(nil), far),
		"PDRs that CHOOSE":   establish(pdrs(func(_ int, p *pfcp.PDR) { p.PDI.FTEID = &pfcp.FTEID{Choose: true, ChooseV4: true} }), far),
		"PDRs with a filter": establish(pdrs(func(_ int, p *pfcp.PDR) { p.PDI.Filters = []pfcp.SDFFilter{{HasDescription: true, Description: fd}} }), far),
		"PDRs with filter IDs": establish(pdrs(func(i int, p *pfcp.PDR) {
			p.PDI.Filters = []pfcp.SDFFilter{{HasID: true, ID: 1}, {HasID: true, ID: 1}, {HasID: true, ID: 1}, {HasID: true, ID: 1}}
			if i == 0 {
				p.PDI.Filters = []pfcp.SDFFilter{{HasID: true, ID: 1, HasDescription: true, Description: fd}}
			}
		}), far),
		"one PDR with filters": establish(func(t testing.TB, i int) []byte {
			if i > 0 {
				return nil
			}
			return rawIE(t, up(i, func(p *pfcp.PDR) {
				for range maxParts / 2 / 3 {
					p.PDI.Filters = append(p.PDI.Filters, pfcp.SDFFilter{HasDescription: true, Description: fd})
				}
			}).IE(ie.CreatePDR))
		}, far),
		"one PDR with filter IDs": establish(func(t testing.TB, i int) []byte {
			if i > 0 {
				return nil
			}
			return rawIE(t, up(i, func(p *pfcp.PDR) {
				p.PDI.Filters = []pfcp.SDFFilter{{HasID: true, ID: 1, HasDescription: true, Description: fd}}
				for range maxParts - 5 {
					p.PDI.Filters = append(p.PDI.Filters, pfcp.SDFFilter{HasID: true, ID: 1})
				}
			}).IE(ie.CreatePDR))
		}, far),
		"PDRs of UE addresses": establish(upTo(maxPDRs, func(t testing.TB, i int) []byte {
			return rawIE(t, down(i, netip.AddrFrom4([4]byte{10, 60, byte(i >> 8), byte(i)})).IE(ie.CreatePDR))
		}), far),
		"FARs": establish(upTo(maxRules, func(t testing.TB, i int) []byte {
			return rawIE(t, (&pfcp.FAR{ID: uint32(i + 1), ApplyAction: p(pfcp.ActionDROP)}).IE(ie.CreateFAR))
		}), up(0, nil).IE(ie.CreatePDR)),
		"QERs": establish(upTo(maxRules, func(t testing.TB, i int) []byte {
			return rawIE(t, (&pfcp.QER{ID: uint32(i + 1), Gate: p(uint8(0))}).IE(ie.CreateQER))
		}), up(0, nil).IE(ie.CreatePDR), far),
		"MARs": establish(upTo(maxRules, func(t testing.TB, i int) []byte {
			m := *maSession().mars[0]
			m.ID = uint16(i + 1)
			return rawIE(t, m.IE(ie.CreateMAR))
		}), up(0, nil).IE(ie.CreatePDR), far, maSession().fars[1].IE(ie.CreateFAR), maSession().fars[2].IE(ie.CreateFAR)),
		"SRRs": establish(upTo(256, func(t testing.TB, i int) []byte {
			return rawIE(t, (&pfcp.SRR{ID: uint8(i), Availability: p(pfcp.RRCA)}).IE(ie.CreateSRR))
		}), up(0, nil).IE(ie.CreatePDR), far),
		"availability of accesses": modification(pdrs(nil), func(t testing.TB, i int) []byte {
			return rawIE(t, pfcp.AccessAvailability{Access: uint8(i & 1), Available: i&2 != 0}.IE())
		}, far),
		"UE addresses of one PDR": establish(func(t testing.TB, i int) []byte {
			if i > 0 {
				return nil
			}
			return rawIE(t, up(0, func(p *pfcp.PDR) {
				for k := range maxParts {
					p.PDI.UEAddresses = append(p.PDI.UEAddresses, pfcp.UEIPAddress{IPv4: netip.AddrFrom4([4]byte{10, 60, byte(k >> 8), byte(k)})})
				}
			}).IE(ie.CreatePDR))
		}, far),
		"QER IDs of one PDR": establish(func(t testing.TB, i int) []byte {
			if i > 0 {
				return nil
			}
			return rawIE(t, up(0, func(p *pfcp.PDR) { p.QERIDs = slices.Repeat([]uint32{1}, maxParts) }).IE(ie.CreatePDR))
		}, far, (&pfcp.QER{ID: 1, Gate: p(uint8(0))}).IE(ie.CreateQER)),
		"updates of PDRs": modification(pdrs(nil), func(t testing.TB, i int) []byte {
			return rawIE(t, (&pfcp.PDR{ID: uint16(i%200 + 1), Precedence: p(uint32(i))}).IE(ie.UpdatePDR))
		}, far),
		"removals of PDRs": modification(pdrs(nil), func(t testing.TB, i int) []byte {
			return raw(ie.RemovePDR, rawIE(t, ie.NewPDRID(uint16(i+2))))
		}, far),
		"removals of QERs": modification(pdrs(func(_ int, p *pfcp.PDR) { p.QERIDs = slices.Repeat([]uint32{1}, maxParts/maxPDRs) }), func(t testing.TB, i int) []byte {
			return raw(ie.RemoveQER, rawIE(t, ie.NewQERID(uint32(i+2))))
		}, far, (&pfcp.QER{ID: 1, Gate: p(uint8(0))}).IE(ie.CreateQER)),
		"removals of URRs": modification(pdrs(nil), func(t testing.TB, i int) []byte {
			return raw(ie.RemoveURR, rawIE(t, ie.NewURRID(uint32(i+2))))
		}, far),
		"alternative addresses": setup(func(int) []byte { return raw(ie.AlternativeSMFIPAddress, []byte{2, 10, 0, 0, 1}) }),
		"FQ-CSIDs":              establish(func(t testing.TB, i int) []byte { return rawIE(t, ie.NewFQCSID("10.0.0.1", uint16(i))) }),
		"PFDs": func(t testing.TB) ([][]byte, []byte) {
			return nil, datagram(message.MsgTypePFDManagementRequest, 0, 2, nil, func(i int) []byte { return rawIE(t, pfds(fmt.Sprint(i), dns)) })
		},
		"PFDs of one application": func(t testing.TB) ([][]byte, []byte) {
			return nil, datagram(message.MsgTypePFDManagementRequest, 0, 2, nil, func(i int) []byte {
				return map[int][]byte{0: rawIE(t, pfds("web", slices.Repeat([]string{dns}, maxAppFlows)...))}[i]
			})
		},
		"session changes": func(t testing.TB) ([][]byte, []byte) {
			return nil, datagram(pfcp.MsgSessionSetModificationRequest, 0, 2, rawIE(t, pfcp.NodeIDIE(cpNode)), func(int) []byte {
				return raw(pfcp.TypeSessionChangeInfo, slices.Repeat(raw(pfcp.TypeGroupID), 250), raw(ie.AlternativeSMFIPAddress, []byte{2, 10, 0, 0, 1}))
			})
		},
		"heartbeats in one datagram": func(t testing.TB) ([][]byte, []byte) {
			one := encoded(t, message.NewHeartbeatRequest(0, pfcp.RecoveryTimeStampIE(cpStarted), nil))
			var b []byte
			for i := 0; len(b)+len(one) <= pfcp.MaxDatagram; i++ {
				m := slices.Clone(one)
				m[0] |= 4 // another message follows
				m[5], m[6] = byte(i>>8), byte(i)
				b = append(b, m...)
			}
			return nil, b
		},
		"establishments in one datagram": func(t testing.TB) ([][]byte, []byte) {
			var b []byte
			for i := 0; ; i++ {
				m := encoded(t, establishment(uint64(i+1), plainSession(uint32(i+1), netip.AddrFrom4([4]byte{10, 60, byte(i >> 8), byte(i)}).String())))
				if len(b)+len(m) > pfcp.MaxDatagram {
					return nil, b
				}
				m[0] |= 4
				m[13], m[14] = byte(i>>8), byte(i)
				b = append(b, m...)
			}
		},
	}
}

// nastyServer is a server with an association and the datagrams before the case.
func nastyServer(t testing.TB, before [][]byte) (in *pfcp.Inbox, s *Server, peer netip.AddrPort, now time.Time) {
	t.Helper()
	plane := &fakePlane{rules: map[uint64]*dataplane.Rules{}}
	s = newServer(testCfg(t, func(*Config) {}), plane, slog.New(slog.DiscardHandler))
	in = pfcp.NewInbox(pfcp.Config{Malformed: s.malformed}, s.handle)
	peer, now = netip.MustParseAddrPort(cpNode+":8805"), time.Unix(1_700_000_000, 0)
	setup := encoded(t, message.NewAssociationSetupRequest(1, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))
	for _, d := range append([][]byte{setup}, before...) {
		in.Receive(peer, d, now)
	}
	return in, s, peer, now
}

// threadTime is what the thread has had of a core: other work of the machine does not
// count.
func threadTime(t testing.TB) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// TestNastyDatagrams: the datagrams that cost most are answered, and soon.
func TestNastyDatagrams(t *testing.T) {
	for name, make := range nasties() {
		t.Run(name, func(t *testing.T) {
			before, it := make(t)
			var cause uint8
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			best := time.Hour // of a few: caches are cold at first
			for range 5 {
				in, s, peer, now := nastyServer(t, before)
				d := slices.Clone(it)
				s.aimAtSession(d)
				start := threadTime(t)
				answers := in.Receive(peer, d, now)
				best = min(best, threadTime(t)-start)
				if len(answers) == 0 {
					t.Fatal("no answer")
				}
				m, err := message.Parse(answers[0])
				if err != nil {
					t.Fatal(err)
				}
				cause = refusalOf(t, m).cause
			}
			t.Logf("%d octets: %v, cause %d", len(it), best, cause)
			if best > worstDatagram && !testenv.RaceDetector {
				t.Errorf("took %v", best)
			}
		})
	}
}

// BenchmarkNastyDatagrams is what each costs.
func BenchmarkNastyDatagrams(b *testing.B) {
	for name, make := range nasties() {
		b.Run(name, func(b *testing.B) {
			before, it := make(b)
			for b.Loop() {
				b.StopTimer()
				in, s, peer, now := nastyServer(b, before)
				d := slices.Clone(it)
				s.aimAtSession(d)
				b.StartTimer()
				in.Receive(peer, d, now)
			}
		})
	}
}
