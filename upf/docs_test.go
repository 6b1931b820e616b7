package upf

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// row is a line of a table in docs/PFCP.md whose IE is refused.
type row struct {
	group string
	typ   uint16
	cause uint8
}

// refusedRows reads docs/PFCP.md.
func refusedRows(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("../docs/PFCP.md")
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`\((\d+)\)$`)
	var rows []row
	for line := range strings.SplitSeq(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 6 {
			continue
		}
		cause, refused := strings.CutPrefix(strings.TrimSpace(cells[3]), "refused, ")
		if !refused {
			continue
		}
		m := number.FindStringSubmatch(strings.TrimSpace(cells[2]))
		n, err := strconv.ParseUint(cause, 10, 8)
		if m == nil || err != nil {
			t.Fatalf("row %q: no one IE type, or no one cause", line)
		}
		typ, _ := strconv.ParseUint(m[1], 10, 16)
		rows = append(rows, row{strings.TrimSpace(cells[1]), uint16(typ), uint8(n)})
	}
	return rows
}

// with is the group g with one more member; path leads to the group that gets it.
func with(g, member *ie.IE, path ...uint16) *ie.IE {
	var members []*ie.IE
	for _, c := range g.ChildIEs {
		if len(path) > 0 && c.Type == path[0] {
			c = with(c, member, path[1:]...)
		}
		members = append(members, c)
	}
	if len(path) == 0 {
		members = append(members, member)
	}
	return ie.NewGroupedIE(g.Type, members...)
}

// TestDocumentedRefusals: each IE that docs/PFCP.md has as refused is refused so,
// where it says.
func TestDocumentedRefusals(t *testing.T) {
	rows := refusedRows(t)
	if len(rows) < 25 {
		t.Fatalf("%d rows read: the tables have another form", len(rows))
	}
	b := newBench(t)
	b.associate()
	// paths lead to a group from the first IE of a rule that has it.
	paths := map[string][]uint16{
		"Create PDR": {ie.CreatePDR}, "PDI": {ie.CreatePDR, ie.PDI}, "Create FAR": {ie.CreateFAR}, "Create QER": {ie.CreateQER},
		"Create MAR": {ie.CreateMAR}, "Create SRR": {ie.CreateSRR}, "Create BAR": {ie.CreateBAR}, "Create Traffic Endpoint": {ie.CreateTrafficEndpoint},
		"Forwarding Parameters": {ie.CreateFAR, ie.ForwardingParameters}, "Duplicating Parameters": {ie.CreateFAR, ie.DuplicatingParameters},
	}
	for _, r := range rows {
		t.Run(r.group+" "+strconv.Itoa(int(r.typ)), func(t *testing.T) {
			member := ie.New(r.typ, []byte{1, 0})
			if member.IsGrouped() {
				member = ie.NewGroupedIE(r.typ, ie.NewQFI(9)) // of null length it could ask for nothing
			}
			var resp message.Message
			path, inRule := paths[r.group]
			switch {
			case inRule:
				req := establishment(0x11, documentedSession())
				lists := map[uint16]*[]*ie.IE{ie.CreatePDR: &req.CreatePDR, ie.CreateFAR: &req.CreateFAR, ie.CreateTrafficEndpoint: &req.CreateTrafficEndpoint, ie.CreateSRR: &req.CreateSRR}
				list := *lists[path[0]]
				list[0] = with(list[0], member, path[1:]...)
				resp = b.ask(req)
			case r.group == "Session Establishment Request":
				ies := append(iesOf(t, establishment(0x11, documentedSession())), member)
				resp = b.ask(message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, ies...))
			case r.group == "Session Modification Request":
				seid, _ := b.established(0x12, documentedSession())
				resp = b.ask(message.NewSessionModificationRequest(0, 0, seid, 0, 0, member))
				b.ask(message.NewSessionDeletionRequest(0, 0, seid, 0, 0))
			default:
				t.Fatalf("group %q is not known here", r.group)
			}
			if got := refusalOf(t, resp); got.cause != r.cause || got.offending != r.typ {
				t.Errorf("got %v, documented is cause %d", got, r.cause)
			}
			if n := b.plane.count(); n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
	b.established(0x11, documentedSession())
}

// documentedSession has a rule of each kind that a row can be about.
func documentedSession() *rulesSpec {
	r := plainSession(0x20, "10.60.0.20")
	r.pdrs[0].PDI.FTEID, r.pdrs[0].PDI.Endpoint = nil, p(uint8(1))
	r.endpoints = []*pfcp.TrafficEndpoint{{ID: 1, PDI: pfcp.PDI{FTEID: &pfcp.FTEID{TEID: 0x20, IPv4: addr("10.100.3.1")}}}}
	r.fars[0].ApplyAction = p(pfcp.ActionFORW | pfcp.ActionDUPL)
	r.fars[0].Duplicates = []pfcp.Forwarding{{Destination: p(pfcp.InterfaceCore), OuterHeader: creation(0x501, "10.100.8.1")}}
	r.srrs = []*pfcp.SRR{{ID: 1, Availability: p(pfcp.RRCA)}}
	return r
}
