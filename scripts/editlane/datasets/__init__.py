"""Read datasets and turn their records into items.

prepare          check all records, store the images, make the items
parsing          parse one record: its fields, language and image
public_formats   read GEdit, ImgEdit, KRIS, RISE and UniREdit
files            read records from JSONL, CSV, Parquet, Arrow or one JSON list
records          read and check single fields of a record
given_edits      find existing edits in a folder
item_ids         make unique, stable ids that are safe as file names
split            assign items to lanes
"""
