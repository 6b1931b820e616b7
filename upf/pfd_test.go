package upf

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// pfds is an Application ID's PFDs IE with a PFD for each set of flow descriptions,
// those of one set apart by "|".
func pfds(id string, sets ...string) *ie.IE {
	a := &pfcp.ApplicationPFDs{ID: id}
	for _, set := range sets {
		var p pfcp.PFD
		for text := range strings.SplitSeq(set, "|") {
			fd, err := pfcp.ParseFlowDescription(text)
			if err != nil {
				panic(err)
			}
			p.Flows = append(p.Flows, fd)
		}
		a.PFDs = append(a.PFDs, p)
	}
	return a.IE()
}

// contents is an Application ID's PFDs IE with one PFD Contents of these octets.
func contents(id string, b ...byte) *ie.IE {
	return ie.NewGroupedIE(ie.ApplicationIDsPFDs, ie.New(ie.ApplicationID, []byte(id)), ie.NewGroupedIE(ie.PFDContext, ie.New(ie.PFDContents, b)))
}

const (
	web = "permit out 6 from 198.51.100.1/32 80,443 to assigned"
	dns = "permit out 17 from any 53 to assigned"
)

// TestPFDManagement follows the applications from request to request.
func TestPFDManagement(t *testing.T) {
	field := func(flags byte, text string) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{flags, 0}, uint16(len(text))), text...)
	}
	b := newBench(t)
	b.associate()
	before := "none yet"
	steps := []struct {
		name string
		pfds []*ie.IE
		want refusal
		apps string // afterwards, by ID with the number of flow descriptions
	}{
		{"two", []*ie.IE{pfds("web", web, dns), pfds("dns", dns)}, refusal{cause: 1}, "dns:1 web:2"},
		{"one in another's place", []*ie.IE{pfds("web", web)}, refusal{cause: 1}, "dns:1 web:1"},
		{"additional flow descriptions", []*ie.IE{pfds("web", web+"|"+dns+"|"+web)}, refusal{cause: 1}, "dns:1 web:3"},
		{"a URL", []*ie.IE{pfds("new", dns), contents("web", field(2, "^http://x$")...)}, refusal{ie.CauseServiceNotSupported, ie.PFDContents, ""}, "dns:1 web:3"},
		{"a domain name", []*ie.IE{contents("web", field(4, "x.example")...)}, refusal{ie.CauseServiceNotSupported, ie.PFDContents, ""}, "dns:1 web:3"},
		{"a flow and a domain name", []*ie.IE{contents("web", append(field(5, dns), field(0, "x.example")[2:]...)...)}, refusal{ie.CauseServiceNotSupported, ie.PFDContents, ""}, "dns:1 web:3"},
		{"nothing to detect", []*ie.IE{contents("web", 0, 0)}, refusal{ie.CauseServiceNotSupported, ie.PFDContents, ""}, "dns:1 web:3"},
		{"cut off", []*ie.IE{contents("web", 1, 0, 0, 9, 'p')}, refusal{wrong, ie.PFDContents, ""}, "dns:1 web:3"},
		{"one octet", []*ie.IE{contents("web", 1)}, refusal{wrong, ie.PFDContents, ""}, "dns:1 web:3"},
		{"no flow description", []*ie.IE{contents("web", field(1, "deny all")...)}, refusal{wrong, ie.PFDContents, ""}, "dns:1 web:3"},
		{"one is deleted", []*ie.IE{pfds("web")}, refusal{cause: 1}, "dns:1"},
		{"one that is not there is deleted", []*ie.IE{pfds("web")}, refusal{cause: 1}, "dns:1"},
		{"all are deleted", nil, refusal{cause: 1}, ""},
	}
	for _, s := range steps {
		resp := b.ask(message.NewPFDManagementRequest(0, s.pfds...))
		if got := refusalOf(t, resp); got != s.want {
			t.Errorf("%s: got %+v, want %+v", s.name, got, s.want)
		}
		b.s.mu.Lock()
		var apps []string
		for _, id := range slices.Sorted(maps.Keys(b.s.apps)) {
			apps = append(apps, id+":"+string('0'+rune(len(b.s.apps[id]))))
		}
		b.s.mu.Unlock()
		if got := strings.Join(apps, " "); got != s.apps {
			t.Fatalf("%s: applications %q, want %q (before: %s)", s.name, got, s.apps, before)
		}
		before = s.apps
	}
}

// TestRecompile: sessions whose PDRs name a changed application are compiled and
// installed again, others are not.
func TestRecompile(t *testing.T) {
	b := newBench(t)
	b.associate()
	seid, _ := b.established(1, plainSession(0x10, "10.60.0.10"))
	other, _ := b.established(2, plainSession(0x11, "10.60.0.11"))
	first, second := b.plane.of(seid), b.plane.of(other)
	b.s.mu.Lock()
	err := b.s.reinstall(b.s.sessions[seid], b.s.sessions[seid].rules)
	b.s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if b.plane.of(seid) == first || b.plane.of(other) != second {
		t.Error("not the session alone was installed again")
	}
	r := ruleSet{}
	r.pdrs.put(&pfcp.PDR{ID: 1, PDI: &pfcp.PDI{}})
	r.pdrs.put(&pfcp.PDR{ID: 2, PDI: &pfcp.PDI{ApplicationID: "web"}})
	for _, tc := range []struct {
		id   string
		want bool
	}{{"web", true}, {"dns", false}, {"", false}} {
		if got := r.names(map[string]bool{tc.id: true}); got != tc.want {
			t.Errorf("%q is named: %v", tc.id, got)
		}
	}
}

// TestPFDChange: a PFD Management Request changes the rules of the sessions in force
// whose PDRs name the application, and of no others. START reports say which
// application it is.
func TestPFDChange(t *testing.T) {
	b := newReportBench(t, "")
	request := func(cause uint8, pfds ...*ie.IE) {
		t.Helper()
		ies := b.ask(message.NewPFDManagementRequest(0, pfds...))
		if i := first(ies, ie.Cause); i == nil || i.Payload[0] != cause {
			t.Fatalf("answer %v", ies)
		}
	}
	ports := func(seid uint64) (ports []uint16) {
		for _, f := range b.plane.of(seid).Downlink[0].Filters {
			for _, r := range f.RemotePorts {
				ports = append(ports, r.First)
			}
		}
		return ports
	}
	request(ie.CauseRequestAccepted, pfds("web", web))
	named := plainSession(1, "10.60.0.1")
	u := &pfcp.URR{ID: 1, Method: pfcp.MethodEvent, Triggers: pfcp.TriggerSTART, HasTriggers: true}
	named.urrs = []*pfcp.URR{u}
	named.pdrs[1].PDI.ApplicationID, named.pdrs[1].URRIDs = "web", []uint32{1}
	var seid uint64
	for _, i := range b.accepted(b.ask(establishment(1, named))) {
		if i.Type == ie.FSEID {
			f, _ := pfcp.ParseFSEID(i)
			seid = f.SEID
		}
	}
	other := b.session(2)
	untouched := b.plane.of(other)
	if got := ports(seid); !slices.Equal(got, []uint16{80, 443}) {
		t.Fatalf("ports %v", got)
	}
	b.traffic(seid, 1, 0, 1)
	b.step()
	if r := b.takeUsage(); len(r) != 1 || r[0].Trigger != pfcp.ReportSTART || r[0].Application != "web" {
		t.Errorf("reports %+v", r)
	}

	request(ie.CauseRequestAccepted, pfds("web", "permit out 6 from any 8080 to assigned"))
	if got := ports(seid); !slices.Equal(got, []uint16{8080}) {
		t.Errorf("ports after the change %v", got)
	}
	changed := b.plane.of(seid)
	request(ie.CauseRequestAccepted, pfds("dns", dns))
	if b.plane.of(seid) != changed || b.plane.of(other) != untouched {
		t.Error("sessions that name other applications, or none, were installed again")
	}
	request(ie.CauseRequestAccepted, pfds("web")) // there is nothing to tell its packets by any more
	if got := ports(seid); !slices.Equal(got, []uint16{8080}) {
		t.Errorf("ports of an application that is gone %v, want those of before", got)
	}
	refused := plainSession(3, "10.60.0.9")
	refused.pdrs[1].PDI.ApplicationID = "web"
	if i := first(b.ask(establishment(3, refused)), ie.Cause); i.Payload[0] != pfcp.CauseUnknownApplicationID {
		t.Errorf("a session that names it is answered with cause %d", i.Payload[0])
	}
}
