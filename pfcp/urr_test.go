package pfcp

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wmnsk/go-pfcp/ie"
)

// TestUsageReportOctets: the trigger has three octets, the volumes come with their
// total, times are NTP's.
func TestUsageReportOctets(t *testing.T) {
	tests := []struct {
		name   string
		report UsageReport
		want   string
	}{
		{"least", UsageReport{URR: 1, Trigger: ReportPERIO}, "00510004000000010068000400000000003f0003010000"},
		{
			"final volume",
			UsageReport{URR: 2, Sequence: 3, Trigger: ReportTERMR | ReportQUVTI, Volume: &VolumeMeasurement{Uplink: 1, Downlink: 2}},
			"005100040000000200680004000000030" + "03f0003000808" + "00420019" + "07000000000000000300000000000000010000000000000002",
		},
		{
			"time",
			UsageReport{URR: 1, Trigger: ReportTIMTH, Start: time.Unix(0, 0), Duration: ptr(1500 * time.Millisecond)},
			"00510004000000010068000400000000003f0003040000" + "004b000483aa7e80" + "0043000400000001",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b, err := tc.report.IE(ie.UsageReportWithinSessionReportRequest).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b[4:]); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// TestURRTriggerOctets: older CP functions send two octets of triggers.
func TestURRTriggerOctets(t *testing.T) {
	for _, tc := range []struct {
		octets []byte
		want   Triggers
	}{{[]byte{3, 0}, TriggerPERIO | TriggerVOLTH}, {[]byte{0, 0x80, 1}, TriggerQUVTI | TriggerREEMR}} {
		u, err := ParseURR(ie.NewGroupedIE(ie.CreateURR, ie.NewURRID(1), ie.New(ie.ReportingTriggers, tc.octets)))
		if err != nil || u.Triggers != tc.want {
			t.Errorf("%x: %#x, %v, want %#x", tc.octets, u.Triggers, err, tc.want)
		}
	}
}

// TestURRApply: an update changes what it carries, and a quota that it gives counts
// as a new grant.
func TestURRApply(t *testing.T) {
	want := urrSeed()
	u := *urrSeed()
	u.Apply(&URR{ID: 1})
	if diff := cmp.Diff(want, &u, cmpAddrs); diff != "" {
		t.Errorf("an empty update: %s", diff)
	}
	u.Spent = true
	u.Apply(&URR{ID: 1, QuotaValidity: 4_000_000_000}) // free5GC's
	if u.VolumeGrant != 0 || !u.Spent {
		t.Errorf("a validity time alone granted a quota: %+v", u)
	}
	quota := &Volumes{Total: ptr(uint64(7))}
	u.Apply(&URR{ID: 1, Period: 60, Limits: Limits{VolumeQuota: quota}})
	want.Period, want.QuotaValidity, want.Limits.VolumeQuota, want.VolumeGrant = 60, 4_000_000_000, quota, 1
	if diff := cmp.Diff(want, &u, cmpAddrs); diff != "" {
		t.Errorf("period and quota: %s", diff)
	}
	u.Monitored()
	want.Limits, want.More = *want.More.Subsequent, &URRMore{Linked: want.More.Linked, QuotaFAR: want.More.QuotaFAR}
	want.VolumeGrant, want.TimeGrant, want.EventGrant = 2, 1, 1
	if diff := cmp.Diff(want, &u, cmpAddrs); diff != "" {
		t.Errorf("monitoring time: %s", diff)
	}
}

// TestReportIEs: the other groups of a Session Report Request.
func TestReportIEs(t *testing.T) {
	for _, tc := range []struct {
		ie   *ie.IE
		want string
	}{
		{DownlinkDataIE([]DownlinkData{{PDR: 2, QFI: 9, PPI: ptr(uint8(46))}, {PDR: 3}}), "005300130038000200020" + "02d0003032e09" + "003800020003"},
		{ErrorIndicationIE([]FTEID{{TEID: 0x101, IPv4: ip("10.100.1.2")}}), "0063000d0015000901000001010a640102"},
		{AdditionalReportsIE(3), "007e00028003"},
		{(ReportUSAR | ReportUPIR).IE(), "002700010a"},
	} {
		b, err := tc.ie.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := hex.DecodeString(tc.want); !bytes.Equal(b, want) {
			t.Errorf("got %x, want %s", b, tc.want)
		}
	}
}
