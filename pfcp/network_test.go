package pfcp

import (
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
)

func TestNetwork(t *testing.T) {
	for _, tc := range []struct {
		name        string
		dnn, snssai *ie.IE
		want        Network
	}{
		{name: "nothing"},
		{"DNN", ie.NewAPNDNN("internet"), nil, Network{DNN: "internet"}},
		{"DNN of two labels", ie.NewAPNDNN("ims.example"), nil, Network{DNN: "ims.example"}},
		{"DNN as plain text", ie.New(ie.APNDNN, []byte("internet")), nil, Network{DNN: "internet"}},
		{"slice", nil, ie.NewSNSSAI(1, 0x01020a), Network{HasSlice: true, SST: 1, SD: "01020a"}},
		{"slice without SD", nil, ie.NewSNSSAI(2, 0xffffff), Network{HasSlice: true, SST: 2}},
		{"both, longer than we know", ie.NewAPNDNN("x"), ie.New(ie.SNSSAI, []byte{1, 0, 0, 1, 9}), Network{DNN: "x", HasSlice: true, SST: 1, SD: "000001"}},
	} {
		got, err := ParseNetwork(tc.dnn, tc.snssai)
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v; want %+v", tc.name, got, err, tc.want)
		}
		var dnn, snssai *ie.IE
		for _, i := range got.IEs() {
			if i.Type == ie.APNDNN {
				dnn = i
			} else {
				snssai = i
			}
		}
		if again, err := ParseNetwork(dnn, snssai); err != nil || again != tc.want {
			t.Errorf("%s: written and read again: %+v, %v", tc.name, again, err)
		}
	}
	if _, err := ParseNetwork(nil, ie.New(ie.SNSSAI, []byte{1, 2, 3})); err == nil || err.Offending != ie.SNSSAI {
		t.Errorf("S-NSSAI of three octets: %v", err)
	}
}
