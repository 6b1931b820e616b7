package upf

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

// The messages of Open5GS's SMF (release 2.8), octet by octet: which IEs there are in a
// group, in which order, and their encoding are those of lib/pfcp/build.c, message.c
// and types.c there; which rules a session has, of src/smf/context.c
// (smf_qos_flow_add, smf_sess_create_cp_up_data_forwarding,
// smf_sess_create_indirect_data_forwarding), npcf-handler.c and n4-build.c.

func u16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// Apply actions, two octets.
var (
	o5gsForward = []byte{0x02, 0x00}
	o5gsBuffer  = []byte{0x0c, 0x00} // BUFF and NOCP
)

// o5gsName is a name as an FQDN.
func o5gsName(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return b
}

// o5gsPDR is a Create PDR, or the PDI of an update of flows.
type o5gsPDR struct {
	id             uint16
	precedence     uint32
	source         uint8
	fteid          []byte
	dnn            string
	ue             []byte
	flows          [][]byte
	qfi            uint8
	sourceType     uint8
	removal        bool
	far, urr, qer  uint32
	withoutDetails bool // of an update: only what tells flows apart
}

func (d *o5gsPDR) pdi() []byte {
	b := raw(ie.SourceInterface, []byte{d.source})
	if d.fteid != nil && !d.withoutDetails {
		b = append(b, raw(ie.FTEID, d.fteid)...)
	}
	if d.dnn != "" && !d.withoutDetails {
		b = append(b, raw(ie.NetworkInstance, o5gsName(d.dnn))...)
	}
	if d.ue != nil && !d.withoutDetails {
		b = append(b, raw(ie.UEIPAddress, d.ue)...)
	}
	for _, f := range d.flows {
		b = append(b, raw(ie.SDFFilter, f)...)
	}
	if d.qfi != 0 && !d.withoutDetails {
		b = append(b, raw(ie.QFI, []byte{d.qfi})...)
	}
	if d.sourceType != 0 {
		b = append(b, raw(ie.TGPPInterfaceType, []byte{d.sourceType})...)
	}
	return raw(ie.PDI, b)
}

func (d *o5gsPDR) create() []byte {
	b := slices.Concat(raw(ie.PDRID, u16(d.id)), raw(ie.Precedence, u32(d.precedence)), d.pdi())
	if d.removal {
		b = append(b, raw(ie.OuterHeaderRemoval, []byte{6})...)
	}
	b = append(b, raw(ie.FARID, u32(d.far))...)
	if d.urr != 0 {
		b = append(b, raw(ie.URRID, u32(d.urr))...)
	}
	if d.qer != 0 {
		b = append(b, raw(ie.QERID, u32(d.qer))...)
	}
	return raw(ie.CreatePDR, b)
}

// updateFlows is the Update PDR of a change of flows (OGS_PFCP_MODIFY_TFT_NEW and its
// like): its PDI has the source and the filters, nothing else.
func (d *o5gsPDR) updateFlows() []byte {
	with := *d
	with.withoutDetails = true
	return raw(ie.UpdatePDR, raw(ie.PDRID, u16(d.id)), with.pdi())
}

// o5gsFlow is an SDF filter with a description, and an ID if that is not 0.
func o5gsFlow(description string, id uint32) []byte {
	flags := byte(1)
	if id != 0 {
		flags |= 0x10
	}
	b := slices.Concat([]byte{flags, 0}, u16(uint16(len(description))), []byte(description))
	if id != 0 {
		b = append(b, u32(id)...)
	}
	return b
}

// o5gsTwin is the SDF filter of the uplink that stands for that of the downlink with
// this ID.
func o5gsTwin(id uint32) []byte { return append([]byte{0x10, 0}, u32(id)...) }

// forwarding is a group of (Update) Forwarding Parameters.
func o5gsForwarding(group uint16, to uint8, dnn string, outer []byte, endMarker bool, toType uint8) []byte {
	b := raw(ie.DestinationInterface, []byte{to})
	if dnn != "" {
		b = append(b, raw(ie.NetworkInstance, o5gsName(dnn))...)
	}
	if outer != nil {
		b = append(b, raw(ie.OuterHeaderCreation, outer)...)
	}
	if endMarker {
		b = append(b, raw(ie.PFCPSMReqFlags, []byte{2})...)
	}
	if toType != 0 {
		b = append(b, raw(ie.TGPPInterfaceType, []byte{toType})...)
	}
	return raw(group, b)
}

func o5gsOuter(teid uint32, a string) []byte {
	ip := addr(a).As4()
	return slices.Concat([]byte{1, 0}, u32(teid), ip[:])
}

// F-TEIDs to be chosen: both families, with a CHOOSE ID or without.
func o5gsChoose(id uint8) []byte { return []byte{0x0f, id} }

var o5gsChooseAny = []byte{0x07}

const (
	o5gsSession  = 5  // OGS_PFCP_DEFAULT_CHOOSE_ID
	o5gsIndirect = 10 // OGS_PFCP_INDIRECT_DATA_FORWARDING_CHOOSE_ID
	o5gsN6       = 17
	o5gsSMF      = "10.100.4.1" // its N4 and its GTP-U address
)

// o5gsRules are the rules of a new session: the default QoS flow and the way between
// UE and SMF for router solicitations.
func o5gsRules() (dl, ul, cp2up, up2cp o5gsPDR) {
	ueIP := []byte{0x06, 10, 45, 0, 2} // V4, destination
	dl = o5gsPDR{id: 1, precedence: 65535, source: 1, dnn: "internet", ue: ueIP, sourceType: o5gsN6, far: 1, urr: 1, qer: 1}
	ul = o5gsPDR{id: 2, precedence: 65535, source: 0, fteid: o5gsChoose(o5gsSession), dnn: "internet", qfi: 1, sourceType: pfcp.N33GPP, removal: true, far: 2, qer: 1}
	cp2up = o5gsPDR{id: 3, precedence: 255, source: 3, fteid: o5gsChooseAny, removal: true, far: 1}
	up2cp = o5gsPDR{
		id: 4, precedence: 255, source: 0, fteid: o5gsChoose(o5gsSession), dnn: "internet", sourceType: pfcp.N33GPP, removal: true, far: 3,
		flows: [][]byte{o5gsFlow("permit out 58 from ff02::2/128 to assigned", 0)},
	}
	return dl, ul, cp2up, up2cp
}

// o5gsEstablishment is the Session Establishment Request; with RESTI it is one of a
// session of before.
func o5gsEstablishment(cp uint64, pdrs []o5gsPDR, resti bool) []byte {
	v4 := addr(o5gsSMF).As4()
	b := slices.Concat(
		raw(ie.NodeID, []byte{0}, v4[:]),
		raw(ie.FSEID, []byte{2}, binary.BigEndian.AppendUint64(nil, cp), v4[:]),
	)
	for i := range pdrs {
		b = append(b, pdrs[i].create()...)
	}
	b = slices.Concat(b,
		raw(ie.CreateFAR, raw(ie.FARID, u32(1)), raw(ie.ApplyAction, o5gsBuffer), raw(ie.BARID, []byte{1})),
		raw(ie.CreateFAR, raw(ie.FARID, u32(2)), raw(ie.ApplyAction, o5gsForward), o5gsForwarding(ie.ForwardingParameters, 1, "internet", nil, false, o5gsN6)),
		raw(ie.CreateFAR, raw(ie.FARID, u32(3)), raw(ie.ApplyAction, o5gsForward), o5gsForwarding(ie.ForwardingParameters, 3, "", o5gsOuter(7, o5gsSMF), false, 0)),
		raw(ie.CreateURR, raw(ie.URRID, u32(1)), raw(ie.MeasurementMethod, []byte{2}), raw(ie.ReportingTriggers, []byte{2, 0, 0}),
			raw(ie.VolumeThreshold, []byte{1}, binary.BigEndian.AppendUint64(nil, 100<<20))),
		raw(ie.CreateQER, raw(ie.QERID, u32(1)), raw(ie.GateStatus, []byte{0}),
			raw(ie.MBR, []byte{0, 0, 0x0f, 0x42, 0x40, 0, 0, 0x0f, 0x42, 0x40}), raw(ie.QFI, []byte{1})), // 1 Gbit/s each way
		raw(ie.CreateBAR, raw(ie.BARID, []byte{1})),
		raw(ie.PDNType, []byte{1}),
		raw(ie.UserID, []byte{1, 8, 0x99, 0x99, 0x07, 0, 0, 0, 0, 0xf1}),
		raw(ie.APNDNN, o5gsName("internet")),
	)
	if resti {
		b = append(b, raw(ie.PFCPSEReqFlags, []byte{1})...)
	}
	return datagram(message.MsgTypeSessionEstablishmentRequest, 0, 0, append(b, raw(ie.SNSSAI, []byte{1, 0xff, 0xff, 0xff})...), nil)
}

// o5gs is Open5GS's SMF at a UPF.
type o5gs struct {
	*bench
	sequence uint32
}

func newO5GS(t *testing.T) *o5gs {
	o := &o5gs{bench: newBenchWith(t, strings.NewReplacer("10.60.0.0/16", "10.45.0.0/16").Replace(testConfig))}
	v4 := addr(o5gsSMF).As4()
	setup := slices.Concat(raw(ie.NodeID, []byte{0}, v4[:]), raw(ie.RecoveryTimeStamp, u32(0xe9000000)), raw(ie.CPFunctionFeatures, []byte{0}))
	m, ok := o.send(datagram(message.MsgTypeAssociationSetupRequest, 0, 0, setup, nil)).(*message.AssociationSetupResponse)
	if !ok || m.UPFunctionFeatures == nil || !m.UPFunctionFeatures.HasFTUP() {
		t.Fatalf("without FTUP Open5GS's SMF takes the N4 address for that of N3: %+v", m)
	}
	return o
}

// send sends a datagram under the next sequence number; it must be accepted.
func (o *o5gs) send(d []byte) message.Message {
	o.t.Helper()
	o.sequence++
	at := 4
	if d[0]&1 != 0 {
		at = 12
	}
	copy(d[at:], u32(o.sequence<<8))
	m := captured(o.t, o.exchange(d))
	if got := refusalOf(o.t, m); got.cause != ie.CauseRequestAccepted {
		o.t.Fatalf("%s: %+v\n%s", m.MessageTypeName(), got, hex.EncodeToString(d))
	}
	return m
}

func (o *o5gs) modify(seid uint64, ies ...[]byte) message.Message {
	o.t.Helper()
	return o.send(datagram(message.MsgTypeSessionModificationRequest, seid, 0, slices.Concat(ies...), nil))
}

// activate is the Update FAR once the gNB's tunnel is known.
func o5gsActivate(far, teid uint32, endMarker bool) []byte {
	return raw(ie.UpdateFAR, raw(ie.FARID, u32(far)), raw(ie.ApplyAction, o5gsForward),
		o5gsForwarding(ie.UpdateForwardingParameters, 0, "internet", o5gsOuter(teid, "10.100.3.2"), endMarker, pfcp.N33GPP))
}

// TestOpen5GSSession is the life of a session: one TEID for the uplink and what goes
// to the SMF, one of its own for what comes from there; buffered with a BAR until the
// gNB's tunnel is known, handed over with an End Marker, idle.
func TestOpen5GSSession(t *testing.T) {
	o := newO5GS(t)
	dl, ul, cp2up, up2cp := o5gsRules()
	resp := o.send(o5gsEstablishment(1, []o5gsPDR{dl, ul, cp2up, up2cp}, false))
	seid := upSEIDOf(t, resp)
	created := createdPDRs(t, resp, ie.CreatedPDR)
	if len(created) != 3 || created[2].TEID == 0 || created[2] != created[4] || created[3].TEID == 0 || created[3].TEID == created[2].TEID {
		t.Fatalf("created %+v", created)
	}
	if f := created[2]; f.IPv4 != addr("10.100.3.1") || f.IPv6.IsValid() {
		t.Errorf("F-TEID %+v, want the N3 address of the one family that there is", f)
	}
	rules := o.plane.of(seid)
	up, down := rules.Uplink, rules.Downlink
	if len(up) != 2 || up[0].ID != 4 || up[0].TEID != created[2].TEID || up[0].FAR.To != dataplane.ToCP || up[0].FAR.OuterHeader.TEID != 7 {
		t.Fatalf("uplink %+v", up)
	}
	if f := up[0].Filters; len(f) != 1 || f[0].Protocol != 58 || f[0].Remote.String() != "ff02::2/128" {
		t.Errorf("filters of the way to the SMF: %+v", f)
	}
	if up[1].ID != 2 || up[1].TEID != created[2].TEID || up[1].QFIs != 1<<1 || len(up[1].QERs) != 1 || up[1].QERs[0].MBR.Uplink != 1e9 {
		t.Errorf("uplink %+v", up[1])
	}
	if len(down) != 2 || down[0].ID != 3 || down[0].TEID != created[3].TEID || down[1].ID != 1 || down[1].TEID != 0 || down[0].FAR != down[1].FAR {
		t.Fatalf("downlink %+v", down)
	}
	if f := down[1].FAR; f.Action != dataplane.Buffer || !f.Notify || f.BAR == nil || f.BAR.ID != 1 {
		t.Errorf("first downlink FAR %+v", f)
	}
	if u := down[1].URRs; len(u) != 1 || u[0].Threshold.Total == nil || *u[0].Threshold.Total != 100<<20 || u[0].Threshold.Uplink != nil {
		t.Errorf("URRs %+v", u)
	}
	if rules.Advertise {
		t.Error("the UPF answers router solicitations that the SMF wants")
	}

	o.modify(seid, o5gsActivate(1, 0x501, false))
	if f := o.plane.of(seid).Downlink[1].FAR; f.Action != dataplane.Forward || f.To != dataplane.ToAccess || f.OuterHeader.TEID != 0x501 || f.Notify {
		t.Errorf("activated FAR %+v", f)
	}
	o.modify(seid, o5gsActivate(1, 0x502, true))
	if r := o.plane.of(seid); len(r.EndMarkers) != 1 || r.EndMarkers[0].TEID != 0x501 || r.Downlink[1].FAR.OuterHeader.TEID != 0x502 {
		t.Errorf("after the handover: %+v", r)
	}
	o.modify(seid, raw(ie.UpdateFAR, raw(ie.FARID, u32(1)), raw(ie.ApplyAction, o5gsBuffer), raw(ie.BARID, []byte{1})))
	if f := o.plane.of(seid).Downlink[1].FAR; f.Action != dataplane.Buffer || !f.Notify || f.BAR == nil || f.OuterHeader == nil {
		t.Errorf("idle FAR %+v", f)
	}
	o.send(datagram(message.MsgTypeSessionDeletionRequest, seid, 0, nil, nil))
	if o.plane.of(seid) != nil {
		t.Error("the session is still there")
	}
}

// TestOpen5GSFlow: a QoS flow comes with PDRs of its own, several filters each, on the
// TEID that is there (src/smf/npcf-handler.c); the uplink names the filters of both
// directions by ID (src/smf/context.c, smf_bearer_tft_update). A change of its flows
// says nothing else of the PDRs.
func TestOpen5GSFlow(t *testing.T) {
	o := newO5GS(t)
	dl, ul, cp2up, up2cp := o5gsRules()
	resp := o.send(o5gsEstablishment(1, []o5gsPDR{dl, ul, cp2up, up2cp}, false))
	seid, teid := upSEIDOf(t, resp), createdPDRs(t, resp, ie.CreatedPDR)[2].TEID

	dl.id, dl.precedence, dl.far, dl.urr, dl.qer = 5, 80, 4, 2, 2
	dl.flows = [][]byte{o5gsFlow("permit out 17 from 198.51.100.7/32 5000-5010 to assigned 1-65535", 1), o5gsFlow("permit out 17 from 198.51.100.8/32 to assigned", 2)}
	ul.id, ul.precedence, ul.far, ul.qer, ul.qfi = 6, 80, 5, 2, 2
	ul.flows = [][]byte{o5gsTwin(1), o5gsTwin(2), o5gsFlow("permit out 17 from 198.51.100.9/32 to assigned", 0)}
	resp = o.modify(seid, dl.create(), ul.create(),
		raw(ie.CreateFAR, raw(ie.FARID, u32(4)), raw(ie.ApplyAction, o5gsForward),
			o5gsForwarding(ie.ForwardingParameters, 0, "internet", o5gsOuter(0x501, "10.100.3.2"), false, pfcp.N33GPP)),
		raw(ie.CreateFAR, raw(ie.FARID, u32(5)), raw(ie.ApplyAction, o5gsForward), o5gsForwarding(ie.ForwardingParameters, 1, "internet", nil, false, o5gsN6)),
		raw(ie.CreateURR, raw(ie.URRID, u32(2)), raw(ie.MeasurementMethod, []byte{2}), raw(ie.ReportingTriggers, []byte{2, 0, 0}),
			raw(ie.VolumeThreshold, []byte{1}, binary.BigEndian.AppendUint64(nil, 100<<20))),
		raw(ie.CreateQER, raw(ie.QERID, u32(2)), raw(ie.GateStatus, []byte{0}),
			raw(ie.MBR, []byte{0, 0, 0, 0, 128, 0, 0, 0, 0, 64}), raw(ie.GBR, []byte{0, 0, 0, 0, 128, 0, 0, 0, 0, 64}), raw(ie.QFI, []byte{2})))
	if f := createdPDRs(t, resp, ie.CreatedPDR)[6]; f.TEID != teid {
		t.Errorf("the flow's TEID %#x, want that of the session %#x", f.TEID, teid)
	}
	remotes := func(fs []dataplane.Filter) (rs []string) {
		for _, f := range fs {
			rs = append(rs, f.Remote.String())
		}
		return rs
	}
	check := func(when string, down, up []string) {
		t.Helper()
		r := o.plane.of(seid)
		u, d := r.Uplink[0], r.Downlink[0]
		if u.ID != 6 || u.TEID != teid || u.QFIs != 1<<2 || d.ID != 5 || len(d.UEAddrs) != 1 || d.UEAddrs[0].String() != "10.45.0.2/32" {
			t.Fatalf("%s: uplink %+v, downlink %+v", when, u, d)
		}
		if got := remotes(d.Filters); !slices.Equal(got, down) {
			t.Errorf("%s: downlink filters of %v, want %v", when, got, down)
		}
		if got := remotes(u.Filters); !slices.Equal(got, up) {
			t.Errorf("%s: uplink filters of %v, want %v", when, got, up)
		}
		if q := d.QERs[0]; len(d.QERs) != 1 || q.GBR == nil || q.GBR.Uplink != 128000 || q.GBR.Downlink != 64000 || q.QFI != 2 {
			t.Errorf("%s: QER %+v", when, q)
		}
	}
	check("new", []string{"198.51.100.7/32", "198.51.100.8/32"}, []string{"198.51.100.7/32", "198.51.100.8/32", "198.51.100.9/32"})
	if f := o.plane.of(seid).Uplink[0].Filters[0]; len(f.RemotePorts) != 1 || f.RemotePorts[0] != (dataplane.PortRange{First: 5000, Last: 5010}) {
		t.Errorf("uplink filter %+v", f)
	}

	dl.flows = [][]byte{o5gsFlow("permit out 17 from 198.51.100.20/32 to assigned", 3)}
	ul.flows = [][]byte{o5gsTwin(3)}
	o.modify(seid, dl.updateFlows(), ul.updateFlows())
	check("changed", []string{"198.51.100.20/32"}, []string{"198.51.100.20/32"})

	o.modify(seid, raw(ie.RemovePDR, raw(ie.PDRID, u16(5))), raw(ie.RemovePDR, raw(ie.PDRID, u16(6))),
		raw(ie.RemoveFAR, raw(ie.FARID, u32(4))), raw(ie.RemoveFAR, raw(ie.FARID, u32(5))),
		raw(ie.RemoveURR, raw(ie.URRID, u32(2))), raw(ie.RemoveQER, raw(ie.QERID, u32(2))))
	if r := o.plane.of(seid); len(r.Uplink) != 2 || len(r.Downlink) != 2 || r.Uplink[1].TEID != teid {
		t.Errorf("after the flow: %+v", r)
	}
}

// TestOpen5GSIndirect: indirect forwarding in a handover: a PDR from access to access
// with a TEID of CHOOSE ID 10, which comes and goes.
func TestOpen5GSIndirect(t *testing.T) {
	o := newO5GS(t)
	dl, ul, cp2up, up2cp := o5gsRules()
	resp := o.send(o5gsEstablishment(1, []o5gsPDR{dl, ul, cp2up, up2cp}, false))
	seid, teid := upSEIDOf(t, resp), createdPDRs(t, resp, ie.CreatedPDR)[2].TEID
	d := o5gsPDR{id: 5, precedence: 4096, source: 0, fteid: o5gsChoose(o5gsIndirect), dnn: "internet", qfi: 1, sourceType: 28, removal: true, far: 4, qer: 1}
	resp = o.modify(seid, d.create(), raw(ie.CreateFAR, raw(ie.FARID, u32(4)), raw(ie.ApplyAction, o5gsForward),
		o5gsForwarding(ie.ForwardingParameters, 0, "internet", o5gsOuter(0x777, "10.100.3.3"), false, 10)))
	f := createdPDRs(t, resp, ie.CreatedPDR)[5]
	r := o.plane.of(seid)
	i := slices.IndexFunc(r.Downlink, func(d dataplane.PDR) bool { return d.ID == 5 })
	if f.TEID == 0 || f.TEID == teid || i < 0 || r.Downlink[i].TEID != f.TEID || r.Downlink[i].FAR.OuterHeader.TEID != 0x777 || len(r.Uplink) != 2 {
		t.Fatalf("F-TEID %+v, rules %+v", f, r)
	}
	o.modify(seid, raw(ie.RemovePDR, raw(ie.PDRID, u16(5))), raw(ie.RemoveFAR, raw(ie.FARID, u32(4))))
	if r := o.plane.of(seid); len(r.Downlink) != 2 {
		t.Errorf("downlink %+v", r.Downlink)
	}
}

// TestOpen5GSRestoration: after our restart the sessions come again, with RESTI and the
// F-TEIDs of before (src/smf/n4-build.c, OGS_PFCP_CREATE_RESTORATION_INDICATION).
func TestOpen5GSRestoration(t *testing.T) {
	dl, ul, cp2up, up2cp := o5gsRules()
	resp := newO5GS(t).send(o5gsEstablishment(1, []o5gsPDR{dl, ul, cp2up, up2cp}, false))
	created := createdPDRs(t, resp, ie.CreatedPDR)

	o := newO5GS(t)
	for _, d := range []*o5gsPDR{&ul, &cp2up, &up2cp} {
		v4 := created[d.id].IPv4.As4()
		d.fteid = slices.Concat([]byte{1}, u32(created[d.id].TEID), v4[:])
	}
	seid := upSEIDOf(t, o.send(o5gsEstablishment(1, []o5gsPDR{dl, ul, cp2up, up2cp}, true)))
	r := o.plane.of(seid)
	if r.Uplink[0].TEID != created[4].TEID || r.Uplink[1].TEID != created[2].TEID || r.Downlink[0].TEID != created[3].TEID {
		t.Errorf("uplink %+v, downlink %+v, before %+v", r.Uplink, r.Downlink, created)
	}
}

// TestOpen5GSOneTunnel: SMFs that have the CP function's packets come in the uplink's
// tunnel name one CHOOSE ID in both: one TEID, uplink and downlink.
func TestOpen5GSOneTunnel(t *testing.T) {
	o := newO5GS(t)
	dl, ul, cp2up, up2cp := o5gsRules()
	cp2up.fteid = o5gsChoose(o5gsSession)
	resp := o.send(o5gsEstablishment(1, []o5gsPDR{dl, ul, cp2up, up2cp}, false))
	created := createdPDRs(t, resp, ie.CreatedPDR)
	r := o.plane.of(upSEIDOf(t, resp))
	if len(created) != 3 || created[2] != created[3] || created[3] != created[4] {
		t.Fatalf("created %+v", created)
	}
	if teid := created[2].TEID; r.Uplink[0].TEID != teid || r.Uplink[1].TEID != teid || r.Downlink[0].TEID != teid || r.Downlink[0].ID != 3 {
		t.Errorf("uplink %+v, downlink %+v", r.Uplink, r.Downlink)
	}
}
