"""Read datasets and turn their records into items.

prepare          store the images, make the items
making           make the items of the records, with unique ids
turns            an item for each turn of a record
checking         check all records against each other
provenance       say where the items are from
parsing          parse one record: its fields, language and image
public_formats   read GEdit, ImgEdit, KRIS, RISE and UniREdit
files            read records from files of our own formats
json_files       read records from JSONL, or one JSON list or object
arrow_files      read records from Parquet and Arrow
records          read and check single fields of a record
given_edits      find existing edits in a folder, by the names of edit_names
item_ids         make unique, stable ids that are safe as file names
split            assign items to lanes
"""
