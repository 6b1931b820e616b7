package pfcp

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
)

// FuzzRules reads any octets as each kind of rule; what can be read is written,
// read again, and must be the same.
func FuzzRules(f *testing.F) {
	for _, seed := range []struct {
		typ uint16
		hex string
	}{
		// A free5GC SMF's PDR with everything, its FAR with outer header creation, its QER.
		{ie.CreatePDR, "003800020001001d0004000000ff00020051001400010000150009010000000" + "20a64030100160008696e7465726e6574005d0005020a3c0001001700260100" + "00227065726d6974206f75742069702066726f6d20616e7920746f2061737369676e6564005f000100006c000400000001"},
		{ie.UpdateFAR, "006c000400000002002c000102000b001a002a000100005400" + "0a0100000001010a640102" + "00a000010b"},
		{ie.CreateQER, "006d00040000000100190001000" + "01a000a00000f4240" + "00001e848000" + "7c000101"},
		{ie.CreateMAR, "00aa00020001" + "00ab000101" + "00ac000102" + "00a60012006c000400000002" + "00ad000132" + "00ae000100" + "00a70008006c000400000003" + "0120000407000a05" + "0121000101"},
		{ie.UpdateMAR, "00aa00020001" + "00af0005" + "00ad00011e"},
	} {
		b, err := hex.DecodeString(seed.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed.typ, b)
	}
	f.Fuzz(func(t *testing.T, typ uint16, b []byte) {
		if len(b) > 0xffff || checkIEs(b, 0, maxDepth) != nil {
			return
		}
		switch typ {
		case ie.CreatePDR, ie.UpdatePDR:
			roundTrip(t, typ, b, ParsePDR, (*PDR).IE, func(x *PDR) bool { return x.unsupported() })
		case ie.CreateFAR, ie.UpdateFAR:
			roundTrip(t, typ, b, ParseFAR, (*FAR).IE, func(x *FAR) bool {
				return x.Forwarding != nil && x.Forwarding.Unsupported != 0
			})
		case ie.CreateQER, ie.UpdateQER:
			roundTrip(t, typ, b, ParseQER, (*QER).IE, func(*QER) bool { return false })
		case ie.CreateMAR, ie.UpdateMAR:
			roundTrip(t, typ, b, ParseMAR, (*MAR).IE, func(*MAR) bool { return false })
		case ie.CreateURR:
			if i := group(t, typ, b); i != nil {
				_, _ = ParseCreateURR(i)
			}
		}
	})
}

// unsupported says that p has parts that are noted and not kept.
func (p *PDR) unsupported() bool {
	if p.Unsupported != 0 || p.PDI == nil {
		return p.Unsupported != 0
	}
	for _, f := range p.PDI.Filters {
		if f.Narrowing {
			return true
		}
	}
	return p.PDI.Unsupported != 0
}

// group is an IE of type typ with the members in b, as the parser makes it.
func group(t *testing.T, typ uint16, b []byte) *ie.IE {
	t.Helper()
	i, err := ie.Parse(append([]byte{byte(typ >> 8), byte(typ), byte(len(b) >> 8), byte(len(b))}, b...))
	if err != nil {
		return nil
	}
	return i
}

func roundTrip[T any](t *testing.T, typ uint16, b []byte, parse func(*ie.IE) (*T, *Error), emit func(*T, uint16) *ie.IE, lossy func(*T) bool) {
	t.Helper()
	i := group(t, typ, b)
	if i == nil {
		return
	}
	before := bytes.Clone(b)
	first, err := parse(i)
	if err != nil {
		if err.Cause < 64 {
			t.Fatalf("error %v has no rejection cause", err)
		}
		return
	}
	if lossy(first) {
		return
	}
	wire, merr := emit(first, typ).Marshal()
	if merr != nil {
		t.Fatal(merr)
	}
	again, perr := ie.Parse(wire)
	if perr != nil {
		t.Fatalf("wrote %x: %v", wire, perr)
	}
	second, err := parse(again)
	if err != nil {
		t.Fatalf("wrote %x: %v", wire, err)
	}
	if diff := cmp.Diff(first, second, cmpAddrs); diff != "" {
		t.Fatalf("%x became %x: %s", b, wire, diff)
	}
	if !bytes.Equal(before, b) {
		t.Fatal("parsing changed the octets")
	}
}

func TestLeaves(t *testing.T) {
	octets := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name  string
		parse func(*ie.IE) (any, *Error)
		typ   uint16
		hex   string
		want  any // nil = malformed
	}{
		{"F-TEID", anyOf(ParseFTEID), ie.FTEID, "01000000020a640301", FTEID{TEID: 2, IPv4: ip("10.100.3.1")}},
		{"F-TEID of both families", anyOf(ParseFTEID), ie.FTEID, "03000000020a640301" + "20010db8000000000000000000000001", FTEID{TEID: 2, IPv4: ip("10.100.3.1"), IPv6: ip("2001:db8::1")}},
		{"F-TEID to choose", anyOf(ParseFTEID), ie.FTEID, "05", FTEID{Choose: true, ChooseV4: true}},
		{"F-TEID to choose with ID", anyOf(ParseFTEID), ie.FTEID, "0f05", FTEID{Choose: true, ChooseV4: true, ChooseV6: true, HasChooseID: true, ChooseID: 5}},
		{"F-TEID to choose without its ID", anyOf(ParseFTEID), ie.FTEID, "0d", nil},
		{"F-TEID of no family", anyOf(ParseFTEID), ie.FTEID, "0000000002", nil},
		{"F-TEID empty", anyOf(ParseFTEID), ie.FTEID, "", nil},
		{"F-SEID", anyOf(ParseFSEID), ie.FSEID, "0200000000000000010a640401", FSEID{SEID: 1, IPv4: ip("10.100.4.1")}},
		{"F-SEID cut off", anyOf(ParseFSEID), ie.FSEID, "0200000000000000010a6404", nil},
		{"F-SEID of no family", anyOf(ParseFSEID), ie.FSEID, "000000000000000001", nil},
		{"UE address", anyOf(ParseUEIPAddress), ie.UEIPAddress, "060a3c0001", UEIPAddress{IPv4: ip("10.60.0.1"), Destination: true}},
		{"UE prefix", anyOf(ParseUEIPAddress), ie.UEIPAddress, "0920010db800000000000000000000000008", UEIPAddress{IPv6: ip("2001:db8::"), Delegated: 8}},
		{"UE prefix with length", anyOf(ParseUEIPAddress), ie.UEIPAddress, "4120010db800000000000000000000000080", UEIPAddress{IPv6: ip("2001:db8::"), PrefixLen: 128}},
		{"UE prefix too long", anyOf(ParseUEIPAddress), ie.UEIPAddress, "4120010db800000000000000000000000081", nil},
		{"UE address to choose", anyOf(ParseUEIPAddress), ie.UEIPAddress, "10", UEIPAddress{Choose: true}},
		{"GTP-U header", anyOf(ParseOuterHeaderCreation), ie.OuterHeaderCreation, "0100000001010a640102", OuterHeaderCreation{Description: GTPUIPv4, TEID: 0x101, IPv4: ip("10.100.1.2")}},
		{"UDP header", anyOf(ParseOuterHeaderCreation), ie.OuterHeaderCreation, "04000a6401020868", OuterHeaderCreation{Description: UDPIPv4, IPv4: ip("10.100.1.2"), Port: 2152}},
		{"UDP header without port", anyOf(ParseOuterHeaderCreation), ie.OuterHeaderCreation, "04000a640102", nil},
		{"Node ID", anyOf(ParseNodeID), ie.NodeID, "000a640401", "10.100.4.1"},
		{"Node ID, a name", anyOf(ParseNodeID), ie.NodeID, "0203736d66076578616d706c65", "smf.example"},
		{"Node ID, a name cut off", anyOf(ParseNodeID), ie.NodeID, "0203736d", nil},
		{"Network Instance, raw", anyOf(networkInstance), ie.NetworkInstance, "696e7465726e6574", "internet"},
		{"Network Instance, labels", anyOf(networkInstance), ie.NetworkInstance, "08696e7465726e6574", "internet"},
		{"Network Instance, two labels", anyOf(networkInstance), ie.NetworkInstance, "0369" + "6d73" + "03617070", "ims.app"},
		{"SDF filter with ID after the rest", anyOf(ParseSDFFilter), ie.SDFFilter, "1e00" + "0102" + "01020304" + "010203" + "00000009", SDFFilter{ID: 9, HasID: true, Narrowing: true}},
		{"SDF filter cut off", anyOf(ParseSDFFilter), ie.SDFFilter, "010000ff", nil},
		{"Recovery Time Stamp", anyOf(ParseRecoveryTimeStamp), ie.RecoveryTimeStamp, "83aa7e80", time.Unix(0, 0)},
		{"Thresholds", anyOf(parseThresholds), typeThresholds, "03000a05", Thresholds{RTT: ptr(uint16(10)), PLR: ptr(uint8(5))}},
		{"Thresholds over 100%", anyOf(parseThresholds), typeThresholds, "0265", nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.parse(ie.New(tc.typ, octets(tc.hex)))
			if tc.want == nil {
				if err == nil || err.Cause != ie.CauseMandatoryIEIncorrect || err.Offending != tc.typ {
					t.Errorf("got %+v, %v, want a refusal of IE %d", got, err, tc.typ)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpAddrs); diff != "" {
				t.Error(diff)
			}
			if e, ok := got.(interface{ IE() *ie.IE }); ok && tc.name[:3] != "SDF" && !bytes.Equal(e.IE().Payload, octets(tc.hex)) {
				t.Errorf("written as %x, was %s", e.IE().Payload, tc.hex)
			}
		})
	}
}

func anyOf[T any](f func(*ie.IE) (T, *Error)) func(*ie.IE) (any, *Error) {
	return func(i *ie.IE) (any, *Error) { return f(i) }
}

func ptr[T any](v T) *T { return &v }

func TestUEPrefixes(t *testing.T) {
	u := UEIPAddress{IPv4: ip("10.60.0.1"), IPv6: ip("2001:db8:1:2::5")}
	if got := u.Prefixes(); len(got) != 2 || got[0].String() != "10.60.0.1/32" || got[1].String() != "2001:db8:1:2::/64" {
		t.Errorf("got %v", got)
	}
	u = UEIPAddress{IPv6: ip("2001:db8:1:2::5"), Delegated: 8}
	if got := u.Prefixes(); len(got) != 1 || got[0].String() != "2001:db8:1::/56" {
		t.Errorf("got %v", got)
	}
}

func TestFailedRuleID(t *testing.T) {
	for r, want := range map[RuleID]string{
		{RulePDR, 0x102}: "000102", {RuleFAR, 1}: "0100000001", {RuleQER, 2}: "0200000002", {RuleURR, 3}: "0300000003",
		{RuleBAR, 4}: "0404", {RuleMAR, 5}: "050005", {RuleSRR, 6}: "0606",
	} {
		if got := hex.EncodeToString(r.IE().Payload); got != want {
			t.Errorf("%v: %s, want %s", r, got, want)
		}
	}
	if (RuleID{}).IE() != nil {
		t.Error("no rule has an IE")
	}
}
