// Serves to Terraform the schema in the file that PROVIDER_SCHEMA names, and nothing else: enough for `validate`, and
// for `test` with a mock, which never ask a provider to do anything.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type attribute struct {
	Name      string          `json:"name"`
	Type      json.RawMessage `json:"type"`
	Nesting   string          `json:"nesting"`
	Children  []attribute     `json:"children"`
	Required  bool            `json:"required"`
	Optional  bool            `json:"optional"`
	Computed  bool            `json:"computed"`
	WriteOnly bool            `json:"writeOnly"`
}

type block struct {
	Name       string      `json:"name"`
	Attributes []attribute `json:"attributes"`
	Blocks     []block     `json:"blocks"`
}

type schemas struct {
	Provider    block   `json:"provider"`
	Resources   []block `json:"resources"`
	DataSources []block `json:"dataSources"`
}

// The methods that are not here are never called.
type server struct {
	tfprotov6.ProviderServer
	schemas schemas
}

var nestings = map[string]tfprotov6.SchemaObjectNestingMode{
	"single": tfprotov6.SchemaObjectNestingModeSingle,
	"map":    tfprotov6.SchemaObjectNestingModeMap,
}

func convertAttributes(attributes []attribute) []*tfprotov6.SchemaAttribute {
	converted := make([]*tfprotov6.SchemaAttribute, 0, len(attributes))
	for _, each := range attributes {
		one := &tfprotov6.SchemaAttribute{
			Name: each.Name, Required: each.Required, Optional: each.Optional, Computed: each.Computed, WriteOnly: each.WriteOnly,
		}
		if each.Nesting == "" {
			kind, err := tftypes.ParseJSONType(each.Type) //nolint:staticcheck // the only way from JSON
			if err != nil {
				log.Fatalf("type of %s: %v", each.Name, err)
			}
			one.Type = kind
		} else {
			one.NestedType = &tfprotov6.SchemaObject{Nesting: nestings[each.Nesting], Attributes: convertAttributes(each.Children)}
		}
		converted = append(converted, one)
	}
	return converted
}

func convertBlock(from block) *tfprotov6.SchemaBlock {
	to := &tfprotov6.SchemaBlock{Attributes: convertAttributes(from.Attributes)}
	for _, each := range from.Blocks {
		to.BlockTypes = append(to.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: each.Name, Nesting: tfprotov6.SchemaNestedBlockNestingModeList, Block: convertBlock(each),
		})
	}
	return to
}

func convertAll(blocks []block) map[string]*tfprotov6.Schema {
	converted := make(map[string]*tfprotov6.Schema, len(blocks))
	for _, each := range blocks {
		converted[each.Name] = &tfprotov6.Schema{Block: convertBlock(each)}
	}
	return converted
}

func (s server) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	return &tfprotov6.GetMetadataResponse{}, nil
}

func (s server) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return &tfprotov6.GetProviderSchemaResponse{
		Provider:          &tfprotov6.Schema{Block: convertBlock(s.schemas.Provider)},
		ResourceSchemas:   convertAll(s.schemas.Resources),
		DataSourceSchemas: convertAll(s.schemas.DataSources),
	}, nil
}

func (s server) ValidateProviderConfig(_ context.Context, request *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (s server) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (s server) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (s server) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func main() {
	content, err := os.ReadFile(os.Getenv("PROVIDER_SCHEMA"))
	if err != nil {
		log.Fatalf("PROVIDER_SCHEMA does not name a file that can be read: %v", err)
	}
	served := server{}
	if err := json.Unmarshal(content, &served.schemas); err != nil {
		log.Fatalf("the file that PROVIDER_SCHEMA names is no schema: %v", err)
	}
	make := func() tfprotov6.ProviderServer { return served }
	if err := tf6server.Serve("registry.terraform.io/yandex-cloud/yandex", make); err != nil {
		log.Fatal(err)
	}
}
