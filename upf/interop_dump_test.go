package upf

import (
	"flag"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/pfcp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds got against a file of testdata/n4.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/n4/" + name + ".golden"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-update writes it anew):\n%s", file, diff)
	}
}

// dump writes compiled rules so that a reader can hold them against the request.
func dump(w *strings.Builder, r *dataplane.Rules) {
	fmt.Fprintf(w, "  UE %v\n", r.UEAddrs)
	for _, h := range r.EndMarkers {
		fmt.Fprintf(w, "  End Marker to %v\n", tunnelText(&h))
	}
	fars, qers, urrs := map[uint32]*dataplane.FAR{}, map[uint32]*dataplane.QER{}, map[uint32]*dataplane.URR{}
	for _, list := range []struct {
		name string
		pdrs []dataplane.PDR
	}{{"uplink", r.Uplink}, {"downlink", r.Downlink}} {
		for i := range list.pdrs {
			d := &list.pdrs[i]
			dumpPDR(w, list.name, d)
			if d.FAR != nil {
				fars[d.FAR.ID] = d.FAR
			}
			for _, q := range d.QERs {
				qers[q.ID] = q
			}
			for _, u := range d.URRs {
				urrs[u.ID] = u
			}
		}
	}
	for _, id := range sortedKeys(fars) {
		dumpFAR(w, fars[id])
	}
	for _, id := range sortedKeys(qers) {
		q := qers[id]
		fmt.Fprintf(w, "  QER %d: QFI %d, uplink %s, downlink %s", id, q.QFI, gate(q.GateULClosed), gate(q.GateDLClosed))
		if q.MBR != nil {
			fmt.Fprintf(w, ", MBR %d/%d bit/s", q.MBR.Uplink, q.MBR.Downlink)
		}
		if q.GBR != nil {
			fmt.Fprintf(w, ", GBR %d/%d bit/s", q.GBR.Uplink, q.GBR.Downlink)
		}
		w.WriteString("\n")
	}
	for _, id := range sortedKeys(urrs) {
		u := urrs[id]
		fmt.Fprintf(w, "  URR %d: threshold %s, quota %s", id, limitText(u.Threshold), limitText(u.Quota))
		if u.BeforeQER {
			w.WriteString(", before QoS")
		}
		w.WriteString("\n")
	}
}

func sortedKeys[V any](m map[uint32]V) []uint32 {
	var ids []uint32
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func dumpPDR(w *strings.Builder, name string, d *dataplane.PDR) {
	fmt.Fprintf(w, "  %s PDR %d, precedence %d:", name, d.ID, d.Precedence)
	if d.TEID != 0 {
		fmt.Fprintf(w, " TEID %#x at %v", d.TEID, d.LocalAddr)
		if name == "uplink" {
			fmt.Fprintf(w, " (%s)", [...]string{steer.Access3GPP: "3GPP", steer.AccessNon3GPP: "non-3GPP"}[d.Access])
		}
	} else {
		w.WriteString(" from N6")
	}
	if len(d.UEAddrs) > 0 {
		fmt.Fprintf(w, ", UE %v", d.UEAddrs)
	}
	for q := d.QFIs; q != 0; q &= q - 1 {
		fmt.Fprintf(w, ", QFI %d", bits.TrailingZeros64(q))
	}
	for _, f := range d.Filters {
		fmt.Fprintf(w, ", filter(%s)", filterText(f))
	}
	w.WriteString(" -> ")
	if d.FAR != nil {
		fmt.Fprintf(w, "FAR %d", d.FAR.ID)
	}
	for _, q := range d.QERs {
		fmt.Fprintf(w, ", QER %d", q.ID)
	}
	for _, u := range d.URRs {
		fmt.Fprintf(w, ", URR %d", u.ID)
	}
	w.WriteString("\n")
}

func dumpFAR(w *strings.Builder, f *dataplane.FAR) {
	action := [...]string{dataplane.Drop: "drop", dataplane.Forward: "forward", dataplane.Buffer: "buffer"}[f.Action]
	to := [...]string{dataplane.ToCore: "core", dataplane.ToAccess: "access", dataplane.ToCP: "CP function", dataplane.ToUEs: "other UEs"}[f.To]
	fmt.Fprintf(w, "  FAR %d: %s, notify %v, to the %s", f.ID, action, f.Notify, to)
	if f.OuterHeader != nil {
		fmt.Fprintf(w, " in %s", tunnelText(f.OuterHeader))
	}
	if f.BAR != nil {
		fmt.Fprintf(w, ", BAR %d", f.BAR.ID)
	}
	w.WriteString("\n")
}

func tunnelText(h *dataplane.OuterHeader) string {
	return fmt.Sprintf("TEID %#x at %v", h.TEID, h.Peer)
}

func gate(closed bool) string {
	if closed {
		return "closed"
	}
	return "open"
}

func filterText(f dataplane.Filter) string {
	side := func(p fmt.Stringer, valid bool, ports []dataplane.PortRange) string {
		s := "any"
		if valid {
			s = p.String()
		}
		for _, r := range ports {
			s += fmt.Sprintf(" %d-%d", r.First, r.Last)
		}
		return s
	}
	s := fmt.Sprintf("remote %s, local %s", side(f.Remote, f.Remote.IsValid(), f.RemotePorts), side(f.Local, f.Local.IsValid(), f.LocalPorts))
	if f.Protocol != 0 {
		s = fmt.Sprintf("protocol %d, ", f.Protocol) + s
	}
	return s
}

func limitText(l dataplane.Limit) string {
	s := ""
	for _, p := range []struct {
		name string
		v    *uint64
	}{{"total", l.Total}, {"up", l.Uplink}, {"down", l.Downlink}} {
		if p.v != nil {
			s += fmt.Sprintf(" %s %d", p.name, *p.v)
		}
	}
	if s == "" {
		return "none"
	}
	return s[1:]
}

// usageText is what a usage report says.
func usageText(r *pfcp.UsageReport) string {
	s := fmt.Sprintf("URR %d number %d trigger %#06x", r.URR, r.Sequence, uint32(r.Trigger))
	if r.Volume != nil {
		s += fmt.Sprintf(" up %d down %d octets", r.Volume.Uplink, r.Volume.Downlink)
	}
	return s
}
